"""Histories are bounded, and counters become rates."""

from __future__ import annotations

import math

from compose.dashboard.history import POINTS, SHOWN, History, Rates


def test_a_series_keeps_its_newest_points_and_shows_means() -> None:
    """However long it runs, a page gets a screenful that ends now."""
    history = History()
    for step in range(3 * POINTS):
        history.add(step, {"a": 1.0})
    told = history.series("a", "b")
    assert (len(told["a"]) <= SHOWN, told["a"][-1], told["b"]) == (True, (3 * POINTS - 1, 1.0), [])


def test_what_is_no_number_leaves_no_point() -> None:
    """A figure that nobody knows yet draws nothing."""
    history = History()
    history.add(1, {"a": None, "b": math.nan, "c": 2.0})
    assert history.series("a", "b", "c") == {"a": [], "b": [], "c": [(1, 2.0)]}


def test_a_restart_is_no_negative_rate() -> None:
    """A counter that begins anew tells nothing until it is told twice."""
    rates = Rates()
    counts = [(1000, 10), (2000, 30), (3000, 5), (4000, 9)]
    assert [rates.of("a", time_ms, count) for time_ms, count in counts] == [None, 20.0, None, 4.0]
