"""Whether two feature jobs compute the same, read from their topics while events go on; `row_parity` judges rows."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from compose.errors import StackError
from compose.row_parity import NEXT, RUNNING, RowParity, whole_since
from features.config import FeaturesConfig
from features.feature_topics import FEATURE_TOPICS, FeatureTopic
from features.kafka_connection import kafka_settings
from streams.kafka_tables import feature_topic

MAX_ROWS_PER_VIEW = 20_000
"""Of a larger view every k-th key is compared, chosen by a hash: both sides choose the same."""
_PATIENCE_S = 60.0
"""How long a row may go on moving, or be missing on one side, before the comparison ends without it."""
_POLL_MS = 200


@dataclass(frozen=True)
class Parity:
    """What a comparison found."""

    equal: int
    different: int
    moving: int = 0
    """Rows that never were in the same state on both sides while they were looked at."""
    cut: int = 0
    """Rows that cannot be equal, as events behind them are gone."""
    example: str = ""


class _View:
    """The rows of one view as they come from Kafka."""

    def __init__(self, bootstrap: str, entry: FeatureTopic, suffix: str, rows: RowParity) -> None:
        self.rows = rows
        self._sides = {feature_topic(entry.view): RUNNING, feature_topic(entry.view, suffix): NEXT}
        self._consumer = _reader(bootstrap, list(self._sides))
        self._ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        self._stride = max(1, sum(self._ends.values()) // 2 // MAX_ROWS_PER_VIEW)
        self._newest: dict[tuple[int, bytes], bytes | None] | None = {}

    def read(self) -> None:
        """Take what has arrived; of what was there before the comparison only each row's newest state."""
        for part, records in self._consumer.poll(timeout_ms=_POLL_MS, max_records=5000).items():
            for record in records:
                if record.key is None or zlib.crc32(record.key) % self._stride:
                    continue
                if self._newest is None:
                    self.rows.take(self._sides[part.topic], record.key, record.value, time.monotonic())
                else:
                    self._newest[self._sides[part.topic], record.key] = record.value
        if self._newest is not None and all(self._consumer.position(part) >= end for part, end in self._ends.items()):
            for (side, key), value in self._newest.items():
                self.rows.take(side, key, value, time.monotonic())
            self.rows.freeze()
            self._newest = None

    @property
    def has_begun(self) -> bool:
        """Whether all that was there is read."""
        return self._newest is None

    def close(self) -> None:
        """Let go of the consumer."""
        self._consumer.close()


def compare_rows(bootstrap: str, features: FeaturesConfig, suffix: str, timeout_s: float, since_ms: int = 0) -> Parity:
    """Compare the rows of the topics in use with those of the job at `suffix`.

    Args:
        bootstrap: Kafka's servers.
        features: whose views are compared.
        suffix: of the other job's topics.
        timeout_s: the longest it may take.
        since_ms: where the events begin that the other job was made from; rows with older ones are cut. 0: all rows.

    Raises:
        StackError: Kafka does not answer, or the topics cannot be read in time.
    """
    views = []
    deadline_s = time.monotonic() + timeout_s
    try:
        for entry in FEATURE_TOPICS:
            judge = whole_since(entry.view, features, since_ms) if since_ms else None
            views.append(_View(bootstrap, entry, suffix, RowParity(entry, judge)))
        while not all(view.has_begun for view in views):
            if time.monotonic() > deadline_s:
                raise StackError(f"the feature topics could not be read in {timeout_s:g} s; allow more --timeout")
            _read(views)
        deadline_s = min(deadline_s, time.monotonic() + _PATIENCE_S)
        while True:
            _read(views)
            now_s = time.monotonic()
            is_over = now_s >= deadline_s
            different = [row for view in views for row in view.rows.different(now_s, is_over)]
            unproven = sum(view.rows.unproven for view in views)
            if is_over or len(different) == unproven:
                return Parity(
                    sum(view.rows.equal for view in views),
                    len(different),
                    unproven - len(different),
                    sum(view.rows.cut for view in views),
                    different[0] if different else "",
                )
    except KafkaError as error:
        raise StackError(f"Kafka does not answer: {error}") from error
    finally:
        for view in views:
            view.close()


def _read(views: list[_View]) -> None:
    for view in views:
        view.read()


def _reader(bootstrap: str, topics: list[str]) -> Any:
    consumer: Any = KafkaConsumer(**kafka_settings(bootstrap), enable_auto_commit=False)
    parts = [TopicPartition(t, number) for t in topics for number in sorted(consumer.partitions_for_topic(t) or ())]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    return consumer
