"""What Prometheus hears of the dashboard: whether it hears of the stack itself, and what people order on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from features.metric_families import family, labelled


class PageMetrics(Collector):
    """Counts, from the threads of the server."""

    def __init__(self) -> None:
        self._orders: Counter[str] = Counter()
        self._reads = 0
        self.silent_parts = 0
        self.hears_kafka = False

    def on_read(self) -> None:
        """Count an answer to a page."""
        self._reads += 1

    def on_order(self, order: str) -> None:
        """Count an order that was carried out."""
        self._orders[order] += 1

    def describe(self) -> Iterator[Metric]:
        """Return nothing: there is no need to collect in order to register."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        yield family("headrace_dashboard_kafka_up", "1 while the topics are read.", self.hears_kafka)
        yield labelled("headrace_dashboard_orders_total", "Orders carried out for people.", "order", self._orders)
        yield family("headrace_dashboard_reads_total", "Answers to open pages.", self._reads)
        yield family("headrace_dashboard_silent_parts", "Parts whose status cannot be read.", self.silent_parts)
