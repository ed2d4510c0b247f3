"""How long state is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.config import AppConfig, load_app_config
from features.label_config import Labels
from streams.retention import entity_window_ms, event_window_ms, feature_rules, sample_rules

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


@pytest.mark.parametrize("horizon_h", [0.25, 24.0, 168.0])
@pytest.mark.parametrize("correction_h", [0.25, 24.0, 168.0])
def test_what_waits_for_its_like_is_kept_for_two_horizons(horizon_h: float, correction_h: float) -> None:
    """Partners lie one horizon apart by the broker's times: a job may fall another one behind in between."""
    features = {"half_lives_s": [600.0], "horizon_h": horizon_h}
    app = AppConfig.model_validate({"actions": {"click": {"outcome": "positive"}}, "features": features})
    singles = [rule for rule in feature_rules(app) if "groupBy" not in rule.pattern]  # Users and items go by silence.
    for rule in singles:
        assert all(kept_ms == 0 or kept_ms >= 2 * horizon_h * HOUR_MS for kept_ms in rule.keep_ms)
    for rule in sample_rules(app, Labels("immediate", 600.0, correction_h, ())):
        least_h = correction_h if "request_id" in rule.pattern else horizon_h
        assert all(kept_ms == 0 or kept_ms >= 2 * least_h * HOUR_MS for kept_ms in rule.keep_ms)
