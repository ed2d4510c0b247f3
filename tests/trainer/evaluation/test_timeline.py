"""Days and steps cover the stream without gap or overlap."""

from __future__ import annotations

from trainer.evaluation.timeline import Timeline, day_of
from trainer.metrics import PrequentialMetrics

_DAY_MS = 86_400_000


def _walked(num_entries: int, restart_at: int = -1) -> Timeline:
    metrics, timeline = PrequentialMetrics(), Timeline(num_entries)
    for number in range(num_entries):
        time_ms = number * _DAY_MS // 10
        if number == restart_at:
            metrics.restart()
            timeline.restart(metrics.totals(), number)
        if timeline.needs_totals(time_ms, number):
            timeline.visit(time_ms, number, metrics.totals())
        metrics.observe_organic([number % 20], missed=0)
    timeline.finish(num_entries * _DAY_MS // 10, metrics.totals())
    return timeline


def test_days_hold_their_own_events() -> None:
    """Ten a day."""
    days = _walked(25).days
    assert [totals.count("hr@10") for totals in days.values()] == [10, 10, 5]
    assert list(days) == ["1970-01-01", "1970-01-02", "1970-01-03"]


def test_a_restart_drops_what_came_before() -> None:
    """The day on which scoring begins has the rest of its events."""
    days = _walked(25, restart_at=15).days
    assert {day: totals.count("hr@10") for day, totals in days.items()} == {"1970-01-02": 5, "1970-01-03": 5}


def test_steps_cut_the_stream_in_about_a_hundred() -> None:
    """The last point stands at the end."""
    points = _walked(1000).points
    assert 95 <= len(points) <= 101
    assert points[-1].events == 1000


def test_days_are_utc() -> None:
    """Whatever the machine's zone."""
    assert (day_of(_DAY_MS - 1), day_of(_DAY_MS)) == ("1970-01-01", "1970-01-02")


def test_the_first_fifth_can_be_taken_away() -> None:
    """What is left is what came after it."""
    timeline = _walked(1000)
    assert timeline.early is not None
    assert timeline.early.count("hr@10") == 200
