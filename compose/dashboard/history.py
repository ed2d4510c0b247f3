"""The recent past of figures that no part keeps: one bounded series a name."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

POINTS = 900
"""At one every two seconds, half an hour."""
SHOWN = 240
"""Points of a series that the page gets."""
_MOST_SERIES = 400


class History:
    """Series by name, the oldest points forgotten.

    Args:
        points: kept of each series.
    """

    def __init__(self, points: int = POINTS) -> None:
        self._points = points
        self._series: dict[str, deque[tuple[int, float]]] = {}

    def add(self, time_ms: int, values: Mapping[str, float | None]) -> None:
        """Append the figures that have a finite value; further names than 400 are not taken."""
        for name, value in values.items():
            if value is None or not math.isfinite(value):
                continue
            if name not in self._series and len(self._series) >= _MOST_SERIES:
                continue
            self._series.setdefault(name, deque(maxlen=self._points)).append((time_ms, round(float(value), 6)))

    def series(self, *names: str) -> dict[str, list[tuple[int, float]]]:
        """Return the points of these series, oldest first, long ones as means; empty for one that is not known."""
        return {name: _thinned(list(self._series.get(name, ()))) for name in names}


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return as many points as a screen shows: means of equal runs, the last of them ending at the newest point."""
    run = -(-len(points) // SHOWN)
    if run <= 1:
        return points
    first = len(points) % run
    parts = ([points[:first]] if first else []) + [points[at : at + run] for at in range(first, len(points), run)]
    return [(part[-1][0], round(sum(value for _, value in part) / len(part), 6)) for part in parts]


class Rates:
    """Turns counters that only grow, but for restarts, into figures a second."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float]] = {}

    def of(self, name: str, time_ms: int, count: float) -> float | None:
        """Return how fast a counter grew since it was last told; None the first time and after a restart."""
        before = self._last.get(name)
        if before is not None and time_ms <= before[0]:
            return None
        self._last[name] = (time_ms, count)
        if before is None or count < before[1]:
            return None
        return (count - before[1]) * 1000.0 / (time_ms - before[0])
