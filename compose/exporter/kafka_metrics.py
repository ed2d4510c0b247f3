"""How much every topic holds, and how far the Flink jobs' groups have committed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.kafka_connection import kafka_settings
from features.metric_families import family, labelled

PREFIX = "headrace."
_TIMEOUT_MS = 5000


def connect(bootstrap: str) -> Any:
    """Return a consumer that reads nothing and belongs to no group.

    Raises:
        KafkaError: no broker answers.
    """
    return KafkaConsumer(
        **kafka_settings(bootstrap),
        client_id="headrace-exporter",
        group_id=None,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=_TIMEOUT_MS,
        request_timeout_ms=_TIMEOUT_MS,
        metadata_max_age_ms=30_000,
    )


class KafkaMetrics(Collector):
    """Asks the broker; scrapes come one at a time.

    Args:
        bootstrap: Kafka's servers.
        connect: makes the consumer.
    """

    def __init__(self, bootstrap: str, connect: Callable[[str], Any] = connect) -> None:
        self._bootstrap = bootstrap
        self._connect = connect
        self._consumer: Any = None
        self._lock = threading.Lock()

    def describe(self) -> Iterator[Metric]:
        """Return nothing: whoever registers must not wait for a broker."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        with self._lock:
            ends, beginnings = self._offsets()
        yield family("headrace_kafka_up", "1 while a broker answers.", bool(ends))
        written = "Records ever written, by topic: the sum of the next offsets."
        yield labelled("headrace_kafka_topic_records_total", written, "topic", ends)
        kept = {topic: end - beginnings.get(topic, 0) for topic, end in ends.items()}
        yield labelled("headrace_kafka_topic_retained_records", "Records that a topic still holds.", "topic", kept)
        yield self._partitions(ends)

    def _partitions(self, ends: Mapping[str, float]) -> Metric:
        metric = GaugeMetricFamily("headrace_kafka_topic_partitions", "Partitions of a topic.", labels=["topic"])
        for topic in ends:
            metric.add_metric([topic], len(self._consumer.partitions_for_topic(topic) or ()) if self._consumer else 0)
        return metric

    def _offsets(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return next and first offsets by topic, summed over partitions; nothing where Kafka does not answer."""
        try:
            if self._consumer is None:
                self._consumer = self._connect(self._bootstrap)
            topics = sorted(topic for topic in self._consumer.topics() if topic.startswith(PREFIX))
            parts = [
                TopicPartition(topic, number)
                for topic in topics
                for number in self._consumer.partitions_for_topic(topic) or ()
            ]
            return _summed(self._consumer.end_offsets(parts)), _summed(self._consumer.beginning_offsets(parts))
        except (KafkaError, OSError):
            if self._consumer is not None:
                with contextlib.suppress(KafkaError, OSError):
                    self._consumer.close()
            self._consumer = None
            return {}, {}


def _summed(offsets: Mapping[TopicPartition, int]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for part, offset in offsets.items():
        sums[part.topic] = sums.get(part.topic, 0.0) + offset
    return sums
