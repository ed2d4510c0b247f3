"""The `streams` section and the half-lives it allows."""

from __future__ import annotations

import pytest

from features.config import ActionConfig, AppConfig, ConfigError, FeaturesConfig
from streams.config import StreamsConfig, check_parallel_half_lives


def _app(*half_lives_s: float) -> AppConfig:
    features = FeaturesConfig(half_lives_s=half_lives_s)
    return AppConfig(actions={"click": ActionConfig(outcome="positive")}, features=features)


def test_nested_half_lives_run_in_parallel() -> None:
    """The shipped ones do."""
    check_parallel_half_lives(_app(60, 600, 3600, 86400), StreamsConfig(parallelism=4))


def test_any_half_lives_run_alone() -> None:
    """One instance keeps the order of everything."""
    check_parallel_half_lives(_app(60, 90), StreamsConfig(parallelism=1))


def test_half_lives_that_do_not_nest_are_refused_in_parallel() -> None:
    """The sentence names both values."""
    with pytest.raises(ConfigError, match="60 does not divide 90"):
        check_parallel_half_lives(_app(60, 90), StreamsConfig(parallelism=2))
