"""How the model store and the copies of its snapshots do, for status and metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class StoreHealth(Collector):
    """Written by the threads that ask, read by whoever tells."""

    def __init__(self) -> None:
        self.error = ""
        """Why the store did not answer last; empty where it did."""
        self.failures = 0
        self.cache_error = ""
        """Why the newest snapshot is not kept here; empty where it is."""

    def note_answer(self) -> None:
        """The store answered."""
        self.error = ""

    def note_failure(self, error: str) -> None:
        """The store did not answer."""
        self.error = error
        self.failures += 1

    def note_cache(self, error: str) -> None:
        """A snapshot was kept here, or could not be."""
        self.cache_error = error

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        yield GaugeMetricFamily(
            "headrace_serving_model_store_away", "1 while it does not answer.", value=bool(self.error)
        )
        yield CounterMetricFamily("headrace_serving_model_store_failures", "Calls that failed.", value=self.failures)
        told = "1 while verified snapshots cannot be kept on this server's disk."
        yield GaugeMetricFamily("headrace_serving_snapshot_cache_refused", told, value=bool(self.cache_error))
