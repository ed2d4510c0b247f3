"""How long state is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.config import AppConfig, load_app_config
from streams.retention import entity_window_ms, event_window_ms

HOUR_MS = 3_600_000
ROOT = Path(__file__).parents[2]


def _app(*half_lives_s: float) -> AppConfig:
    actions = {"click": {"outcome": "positive"}}
    return AppConfig.model_validate(
        {"actions": actions, "features": {"half_lives_s": list(half_lives_s), "horizon_h": 24}}
    )


@pytest.mark.parametrize(
    ("longest_s", "kept_ms"),
    [(3600.0, 2 * 40 * HOUR_MS), (86_400.0, 2 * 40 * 24 * HOUR_MS), (5_184_000.0, 0)],
    ids=["hours", "days", "two months: years, which is for ever"],
)
def test_a_silent_entity_is_kept_for_two_of_the_longest_epochs(longest_s: float, kept_ms: int) -> None:
    """An epoch is 40 half-lives; what would be kept for more than a year is not looked for at every access."""
    assert entity_window_ms(_app(600.0, longest_s)) == kept_ms


def test_an_app_bounds_it() -> None:
    """Whatever its half-lives are."""
    app = _app(600.0, 5_184_000.0)
    bounded = app.model_copy(update={"features": app.features.model_copy(update={"forget_after_days": 30.0})})
    assert entity_window_ms(bounded) == 30 * 24 * HOUR_MS


def test_the_guide_tells_what_is_shipped() -> None:
    """Sixty days of half-life are epochs of years: nobody is forgotten."""
    assert entity_window_ms(load_app_config(ROOT / "headrace.yaml")) == 0
    assert "as shipped nobody is forgotten" in " ".join((ROOT / "docs" / "features.md").read_text().split())


def test_events_always_expire() -> None:
    """Twice the horizon, whatever the half-lives."""
    assert event_window_ms(_app(600.0, 5_184_000.0)) == 48 * HOUR_MS
