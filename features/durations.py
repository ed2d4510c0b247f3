"""Durations as a histogram for Prometheus, and the newest of them for percentiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from prometheus_client.core import HistogramMetricFamily, Metric

FRESHNESS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Bounds of all that says how old an event was: from the figures to reach (0.1 s, 2 s) to a backlog of an hour."""
_WINDOW = 1024


class Durations:
    """A histogram; one thread adds, any may read.

    Args:
        bounds_s: upper bounds of the buckets, rising, without infinity.
    """

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = np.array(bounds_s)
        self._counts = np.zeros(len(bounds_s) + 1, dtype=np.int64)
        self._sum_s = 0.0
        self._recent_s: deque[float] = deque(maxlen=_WINDOW)

    def add(self, seconds: float) -> None:
        """Take one in."""
        self._counts[int(np.searchsorted(self._bounds_s, seconds))] += 1
        self._sum_s += seconds
        self._recent_s.append(seconds)

    def add_many(self, seconds: Sequence[float]) -> None:
        """Take several in."""
        if not seconds:
            return
        found = np.searchsorted(self._bounds_s, seconds)
        self._counts += np.bincount(found, minlength=len(self._counts))
        self._sum_s += float(sum(seconds))
        self._recent_s.extend(seconds[-_WINDOW:])

    def percentiles(self, scale: float) -> dict[str, float]:
        """Return p50 and p99 of the newest, times `scale`; empty before the first."""
        if not self._recent_s:
            return {}
        found = np.percentile(tuple(self._recent_s), (50, 99)) * scale
        return dict(zip(("p50", "p99"), np.round(found, 3).tolist(), strict=True))

    def metric(self, name: str, text: str) -> Metric:
        """Return the histogram."""
        metric = HistogramMetricFamily(name, text)
        bounds = [*map(str, self._bounds_s.tolist()), "+Inf"]
        metric.add_metric([], list(zip(bounds, np.cumsum(self._counts).tolist(), strict=True)), self._sum_s)
        return metric
