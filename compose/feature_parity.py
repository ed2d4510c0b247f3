"""Rows of two feature jobs side by side: whether what both compute is equal, and the copy that makes one the other.

A row is compared where both jobs have seen the same newest event of it; fields that only one of them has are what an
upgrade is for. Sums of floats depend on the order of addition in their last digits, so they are equal within 1e-9.
"""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from compose.errors import StackError
from compose.topic_scan import scan_topic
from features.config import FeaturesConfig
from features.feature_topics import FEATURE_TOPICS, TOPIC_BY_VIEW, FeatureTopic
from streams.kafka_tables import feature_topic

MAX_ROWS_PER_VIEW = 20_000
"""Of a larger view every k-th key is compared, chosen by a hash: both sides choose the same."""
_SETTLE_S = 10.0
"""A row that still differs after this long without news of it does differ."""
_TOLERANCE = 1e-9
_POLL_MS = 200


@dataclass(frozen=True)
class Parity:
    """What a comparison found."""

    rows: int
    different: int
    example: str = ""


class _View:
    """The newest rows of one view on both sides."""

    def __init__(self, bootstrap: str, view: str, suffix: str) -> None:
        self.view = view
        self._topics = {feature_topic(view): 0, feature_topic(view, suffix): 1}
        self._consumer = _reader(bootstrap, list(self._topics))
        parts = list(self._consumer.assignment())
        records = sum(self._consumer.end_offsets(parts).values()) // 2
        self._stride = max(1, records // MAX_ROWS_PER_VIEW)
        self.rows: dict[bytes, list[bytes | None]] = {}

    def read(self) -> bool:
        """Take what has arrived; say whether anything had."""
        batches = self._consumer.poll(timeout_ms=_POLL_MS, max_records=5000)
        for part, records in batches.items():
            for record in records:
                if record.key is not None and zlib.crc32(record.key) % self._stride == 0:
                    self.rows.setdefault(record.key, [None, None])[self._topics[part.topic]] = record.value
        return bool(batches)

    def differences(self) -> list[str]:
        """Describe the rows that differ."""
        entry = TOPIC_BY_VIEW[self.view]
        pairs = self.rows.items()
        return [f"{self.view} {key.decode(errors='replace')!r}" for key, pair in pairs if _differ(entry, *pair)]

    def close(self) -> None:
        """Let go of the consumer."""
        self._consumer.close()


def compare_rows(bootstrap: str, features: FeaturesConfig, suffix: str, timeout_s: float) -> Parity:
    """Compare the newest rows of the topics in use with those of the job at `suffix`.

    Args:
        bootstrap: Kafka's servers.
        features: whose views are compared.
        suffix: of the other job's topics.
        timeout_s: how long rows may go on changing.

    Raises:
        StackError: Kafka does not answer.
    """
    views = [_View(bootstrap, topic.view, suffix) for topic in FEATURE_TOPICS]
    deadline, news_s = time.monotonic() + timeout_s, time.monotonic()
    try:
        while True:
            if any([view.read() for view in views]):
                news_s = time.monotonic()
            quiet_s = time.monotonic() - news_s
            if quiet_s < 1.0 and time.monotonic() < deadline:
                continue
            different = [row for view in views for row in view.differences()]
            if not different or quiet_s > _SETTLE_S or time.monotonic() > deadline:
                rows = sum(len(view.rows) for view in views)
                return Parity(rows, len(different), different[0] if different else "")
    except KafkaError as error:
        raise StackError(f"Kafka does not answer: {error}") from error
    finally:
        for view in views:
            view.close()


def copy_newest_rows(bootstrap: str, suffix: str) -> int:
    """Write the newest row of every key of the job at `suffix` to the topics in use; return how many.

    Raises:
        StackError: Kafka does not take them all.
    """
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20)
    try:
        sent = []
        for topic in FEATURE_TOPICS:
            records = scan_topic(bootstrap, feature_topic(topic.view, suffix))
            newest = {record.key: record.value for record in records}
            sent += [producer.send(feature_topic(topic.view), key=key, value=value) for key, value in newest.items()]
        for future in sent:
            future.get(60)
        return len(sent)
    except KafkaError as error:
        raise StackError(f"Kafka did not take the new rows: {error}; run the upgrade again") from error
    finally:
        producer.close()


def _reader(bootstrap: str, topics: list[str]) -> Any:
    consumer: Any = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    parts = [TopicPartition(t, number) for t in topics for number in sorted(consumer.partitions_for_topic(t) or ())]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    return consumer


def _differ(entry: FeatureTopic, left: bytes | None, right: bytes | None) -> bool:
    if left is None or right is None:
        return left is not right
    return not _equal(_fields(entry, left), _fields(entry, right))


def _fields(entry: FeatureTopic, value: bytes) -> dict[str, Any]:
    """Return what a row has: without a declared feature, the struct's `features` is null."""
    fields = msgspec.to_builtins(entry.read(value))
    return {name: column for name, column in fields.items() if column is not None}


def _equal(left: Any, right: Any) -> bool:
    """Compare what both have; numbers within the tolerance."""
    if isinstance(left, dict) and isinstance(right, dict):
        return all(_equal(left[name], right[name]) for name in left.keys() & right.keys())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(left == right)
