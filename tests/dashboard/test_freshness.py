"""Every stage is timed from the event, whatever comes first."""

from __future__ import annotations

from itertools import permutations

import pytest

from compose.dashboard.freshness import WINDOW_MS, Freshness


def steps(freshness: Freshness) -> dict[str, object]:
    """What happens to one event: its sample, the version that learns it, and that version going live."""
    return {
        "sample": lambda: freshness.on_sample("s:0", 5, 1_150, 1_000),
        "version": lambda: freshness.on_version("1.2", 1_400, {"s:0": 6}),
        "live": lambda: freshness.on_live("1.2", 1_480),
    }


@pytest.mark.parametrize("order", list(permutations(("sample", "version", "live"))))
def test_the_order_of_arrival_changes_nothing(order: tuple[str, ...]) -> None:
    """Topics and status files come as they like."""
    freshness = Freshness()
    freshness.on_version("1.1", 900, {"s:0": 5})
    told = steps(freshness)
    for name in order:
        told[name]()  # type: ignore[operator]
    stages = freshness.stages(1_500)
    assert {stage: times["p50"] for stage, times in stages.items()} == {
        "sample": 150.0,
        "weights": 400.0,
        "served": 480.0,
    }


def test_only_the_first_version_that_learnt_an_event_times_it() -> None:
    """A later version that was seen going live says nothing of an event that an earlier one brought."""
    freshness = Freshness()
    freshness.on_version("1.1", 900, {"s:0": 5})
    freshness.on_sample("s:0", 5, 1_150, 1_000)
    freshness.on_version("1.2", 1_400, {"s:0": 6})
    freshness.on_version("1.3", 1_900, {"s:0": 9})
    freshness.on_live("1.3", 2_000)
    assert freshness.stages(2_000)["served"] == {}


def test_an_event_that_the_oldest_known_version_covers_is_left_out() -> None:
    """It may have been learnt long before the dashboard began to listen."""
    freshness = Freshness()
    freshness.on_version("1.9", 9_000, {"s:0": 50})
    freshness.on_sample("s:0", 5, 9_100, 1_000)
    assert freshness.stages(9_100)["weights"] == {}


def test_percentiles_forget_what_is_over_a_minute_old() -> None:
    """The strip says how it is now."""
    freshness = Freshness()
    freshness.on_sample("s:0", 5, 1_150, 1_000)
    assert freshness.stages(1_150)["sample"]["count"] == 1
    assert freshness.stages(1_151 + WINDOW_MS)["sample"] == {}
