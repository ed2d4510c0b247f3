"""Counts swaps and deltas: for Prometheus, for `STATE/serving.json`, for whoever asks why a server is behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.version_records import VersionRecords

_WINDOW = 1024
_APPLY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_BEHIND_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0)


class _Durations:
    """A histogram, and the newest values for percentiles."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._counts = np.zeros(len(bounds_s) + 1, dtype=np.int64)
        self._sum_s = 0.0
        self._recent_s: deque[float] = deque(maxlen=_WINDOW)

    def add(self, seconds: float) -> None:
        """Take one in."""
        self._counts[int(np.searchsorted(self._bounds_s, seconds))] += 1
        self._sum_s += seconds
        self._recent_s.append(seconds)

    def percentiles(self, scale: float) -> dict[str, float]:
        """Return p50 and p99 of the newest, times `scale`; empty before the first."""
        if not self._recent_s:
            return {}
        found = np.percentile(self._recent_s, (50, 99)) * scale
        return dict(zip(("p50", "p99"), np.round(found, 3).tolist(), strict=True))

    def metric(self, name: str, text: str) -> Metric:
        """Return the histogram."""
        metric = HistogramMetricFamily(name, text)
        bounds = [*map(str, self._bounds_s), "+Inf"]
        metric.add_metric([], list(zip(bounds, np.cumsum(self._counts).tolist(), strict=True)), self._sum_s)
        return metric


class SwapStats(Collector):
    """What became of versions since the start.

    Args:
        records: counts swaps and refusals.
    """

    def __init__(self, records: VersionRecords) -> None:
        self._records = records
        self.deltas_applied = 0
        self.deltas_skipped = 0
        """Sent twice, or read again."""
        self.deltas_avoided = 0
        """Applied and not served, as they lead to versions that were rolled back from."""
        self.resyncs = 0
        """Rebuilds from a snapshot because the chain of deltas did not hold."""
        self.readers_waited_for = 0
        """Times that a buffer could not be written at once, as a request still read it."""
        self.readers_left_behind = 0
        """Times that such a request did not end, so that its buffer was left to it and a fresh one made."""
        self._apply = _Durations(_APPLY_BUCKETS_S)
        self._behind = _Durations(_BEHIND_BUCKETS_S)

    def note_applied(self, deltas: int, seconds: float, behind_s: float) -> None:
        """Count deltas that went live together: what they took in the worker, and how old the newest was then."""
        self.deltas_applied += deltas
        self._apply.add(seconds / deltas)
        self._behind.add(max(0.0, behind_s))

    @property
    def apply_ms(self) -> dict[str, float]:
        """Milliseconds to check and apply a delta, p50 and p99 of the newest."""
        return self._apply.percentiles(1000.0)

    @property
    def behind_s(self) -> dict[str, float]:
        """Seconds from a delta's creation until it served, p50 and p99 of the newest."""
        return self._behind.percentiles(1.0)

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        swaps = CounterMetricFamily("headrace_swaps", "Versions that went live.", value=self._records.swaps)
        refused = CounterMetricFamily("headrace_versions_refused", "Versions refused.", labels=["reason"])
        for reason, count in self._records.refused.items():
            refused.add_metric([reason], count)
        deltas = CounterMetricFamily("headrace_deltas", "Deltas that came.", labels=["result"])
        deltas.add_metric(["applied"], self.deltas_applied)
        deltas.add_metric(["skipped"], self.deltas_skipped)
        deltas.add_metric(["avoided"], self.deltas_avoided)
        resyncs = CounterMetricFamily("headrace_resyncs", "Rebuilds from snapshot and deltas.", value=self.resyncs)
        waited = CounterMetricFamily(
            "headrace_readers_waited_for", "Writes that waited for a reader.", value=self.readers_waited_for
        )
        left = CounterMetricFamily(
            "headrace_readers_left_behind", "Buffers left to a reader.", value=self.readers_left_behind
        )
        yield from (swaps, refused, deltas, resyncs, waited, left)
        yield self._apply.metric("headrace_delta_apply_seconds", "Checking and applying a delta.")
        yield self._behind.metric("headrace_delta_to_serving_seconds", "From a delta's creation to serving.")
        created_s = self._records.live_created_ms / 1000.0
        yield GaugeMetricFamily("headrace_live_version_created_seconds", "Unix time of the live version.", created_s)
