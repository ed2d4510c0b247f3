"""How long state is kept."""

from __future__ import annotations

import pytest

from features.config import AppConfig
from streams.retention import entity_window_ms, event_window_ms

HOUR_MS = 3_600_000


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


def test_events_always_expire() -> None:
    """Twice the horizon, whatever the half-lives."""
    assert event_window_ms(_app(600.0, 5_184_000.0)) == 48 * HOUR_MS
