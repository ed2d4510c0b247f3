"""Counts swaps and deltas: for Prometheus, for `STATE/serving.json`, for whoever asks why a server is behind."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.durations import FRESHNESS_S, Durations
from serving.version_records import VersionRecords

_APPLY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_BEHIND_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0)


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
        self._apply = Durations(_APPLY_BUCKETS_S)
        self._behind = Durations(_BEHIND_BUCKETS_S)
        self._event_to_served = Durations(FRESHNESS_S)

    def note_applied(self, deltas: int, seconds: float, behind_s: float, event_age_s: float = 0.0) -> None:
        """Count deltas that went live together.

        Args:
            deltas: how many.
            seconds: what they took in the worker.
            behind_s: since the newest was made.
            event_age_s: since Kafka took the newest event that it learnt; 0 where it does not say.
        """
        self.deltas_applied += deltas
        self._apply.add(seconds / deltas)
        self._behind.add(max(0.0, behind_s))
        if event_age_s > 0.0:
            self._event_to_served.add(event_age_s)

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
        swaps = CounterMetricFamily("headrace_serving_swaps", "Versions that went live.", value=self._records.swaps)
        refused = CounterMetricFamily("headrace_serving_versions_refused", "Versions refused.", labels=["reason"])
        for reason, count in self._records.refused.items():
            refused.add_metric([reason], count)
        deltas = CounterMetricFamily("headrace_serving_deltas", "Deltas that came.", labels=["result"])
        deltas.add_metric(["applied"], self.deltas_applied)
        deltas.add_metric(["skipped"], self.deltas_skipped)
        deltas.add_metric(["avoided"], self.deltas_avoided)
        resyncs = CounterMetricFamily(
            "headrace_serving_resyncs", "Rebuilds from snapshot and deltas.", value=self.resyncs
        )
        waited = CounterMetricFamily(
            "headrace_serving_readers_waited_for", "Writes that waited for a reader.", value=self.readers_waited_for
        )
        left = CounterMetricFamily(
            "headrace_serving_readers_left_behind", "Buffers left to a reader.", value=self.readers_left_behind
        )
        yield from (swaps, refused, deltas, resyncs, waited, left)
        yield self._apply.metric("headrace_serving_delta_apply_seconds", "Checking and applying a delta.")
        yield self._behind.metric("headrace_serving_delta_to_serving_seconds", "From a delta's creation to serving.")
        told = "From Kafka's time of the newest event that a version learnt to its first answer."
        yield self._event_to_served.metric("headrace_serving_event_to_served_seconds", told)
        created_s = self._records.live_created_ms / 1000.0
        yield GaugeMetricFamily(
            "headrace_serving_live_version_created_timestamp_seconds", "Unix time of the live version.", created_s
        )
