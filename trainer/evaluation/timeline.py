"""Metrics along the stream: by day, and at even steps for a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from trainer.metrics import Totals

CURVE_STEPS = 100
"""Points of a curve."""
EARLY_SHARE = 0.2
"""Of the entries: on these settings may be chosen, on the rest figures are believed."""


@dataclass(frozen=True)
class Point:
    """Metrics of one stretch of the stream."""

    time_ms: int
    """Where it ends."""
    events: int
    """Events so far."""
    values: Mapping[str, float]


@dataclass
class Timeline:
    """Stretches of one method's run; told the totals at every border.

    Args:
        num_entries: length of the stream, for the size of a step.
    """

    num_entries: int
    days: dict[str, Totals] = field(default_factory=dict)
    """UTC date -> what was judged that day."""
    points: list[Point] = field(default_factory=list)
    early: Totals | None = None
    """Totals behind the first `EARLY_SHARE` of the entries."""
    _day: str = ""
    _day_start: Totals | None = None
    _step_start: Totals | None = None
    _next_step: int = 0

    def restart(self, totals: Totals, done: int) -> None:
        """Begin here: what came before is not scored."""
        self.days, self.points, self.early, self._day = {}, [], None, ""
        self._day_start = self._step_start = totals
        self._next_step = done + self._step_size

    def needs_totals(self, time_ms: int, done: int) -> bool:
        """Say whether a border lies before an entry of this time, `done` entries into the stream."""
        return day_of(time_ms) != self._day or done >= self._next_step

    def visit(self, time_ms: int, done: int, totals: Totals) -> None:
        """Note the totals before an entry of this time."""
        day = day_of(time_ms)
        if self._day_start is None:
            self.restart(totals, done)
        if day != self._day:
            self._close_day(totals)
            self._day, self._day_start = day, totals
        if done >= self._next_step:
            self._close_step(time_ms, done, totals)

    def finish(self, time_ms: int, totals: Totals) -> None:
        """Note the totals at the end of the stream."""
        if self._day_start is None:
            self.restart(totals, 0)
        self._close_day(totals)
        self._close_step(time_ms, self.num_entries, totals)

    @property
    def _step_size(self) -> int:
        return max(1, self.num_entries // CURVE_STEPS)

    def _close_day(self, totals: Totals) -> None:
        if self._day and self._day_start is not None:
            self.days[self._day] = totals.minus(self._day_start)

    def _close_step(self, time_ms: int, done: int, totals: Totals) -> None:
        assert self._step_start is not None
        if self.early is None and done >= EARLY_SHARE * self.num_entries:
            self.early = totals
        self.points.append(Point(time_ms, done, totals.minus(self._step_start).values()))
        self._step_start, self._next_step = totals, done + self._step_size


def day_of(time_ms: int) -> str:
    """Return the UTC date of a time."""
    return datetime.fromtimestamp(time_ms / 1000.0, UTC).date().isoformat()
