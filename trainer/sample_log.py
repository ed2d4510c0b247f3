"""The samples and items topics as one log with positions of our own: no consumer group, nothing committed.

Positions live in the trainer's checkpoint, beside the weights that they belong to.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

SAMPLES_TOPIC = "headrace.samples.v1"
ITEMS_TOPIC = "headrace.items.v1"
_PAUSE_S = 0.2

logger = logging.getLogger(__name__)


class LogRecord(NamedTuple):
    """One record of either topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class Log(Protocol):
    """What the trainer needs of `SampleLog`."""

    @property
    def lost(self) -> int:
        """Records that were gone before they could be read."""

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Return what has arrived, waiting at most `timeout_ms`."""

    def end_offsets(self) -> dict[str, int]:
        """Return `topic:partition` -> end as last heard."""


class SampleLog:
    """Follows both topics, all partitions, from given positions.

    Args:
        bootstrap_servers: `host:port[,host:port]`.
        max_poll_records: most records of one `poll`.

    Raises:
        KafkaError: no broker answers.
    """

    def __init__(self, bootstrap_servers: str, max_poll_records: int) -> None:
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=bootstrap_servers.split(","),
            client_id="headrace-trainer",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=100,
            max_poll_records=max_poll_records,
            metadata_max_age_ms=15_000,
            reconnect_backoff_max_ms=1000,
            bootstrap_timeout_ms=5000,
        )
        self._next: dict[TopicPartition, int] = {}
        self.lost = 0
        """Records that retention deleted before this trainer read them."""

    def start(self, offsets: Mapping[str, int]) -> bool:
        """Take all partitions at `offsets` (`topic:partition` -> next), others at their beginning.

        Returns:
            False where a topic does not exist yet.
        """
        parts = []
        for topic in (SAMPLES_TOPIC, ITEMS_TOPIC):
            numbers = self._consumer.partitions_for_topic(topic)
            if not numbers:
                return False
            parts += [TopicPartition(topic, number) for number in sorted(numbers)]
        beginnings, ends = self._consumer.beginning_offsets(parts), self._consumer.end_offsets(parts)
        self._consumer.assign(parts)
        for part in parts:
            wanted = offsets.get(_name(part), beginnings[part])
            self._consumer.seek(part, self._position_in_range(part, wanted, beginnings[part], ends[part]))
        return True

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Return what has arrived, waiting at most `timeout_ms` for the first record."""
        try:
            polled = self._consumer.poll(timeout_ms=timeout_ms)
        except KafkaError as error:
            logger.warning("reading samples failed (%s); trying again", error)
            time.sleep(_PAUSE_S)
            return []
        for part, records in polled.items():
            self._note_gap(part, records[0].offset)
            self._next[part] = records[-1].offset + 1
        return [
            LogRecord(record.topic, record.partition, record.offset, record.key, record.value, record.timestamp)
            for records in polled.values()
            for record in records
        ]

    def end_offsets(self) -> dict[str, int]:
        """Return the ends that the broker told with the newest fetches, `topic:partition` -> offset, no round trip."""
        ends = {_name(part): self._consumer.highwater(part) for part in self._consumer.assignment()}
        return {name: end for name, end in ends.items() if end is not None}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _note_gap(self, part: TopicPartition, offset: int) -> None:
        """Say loudly when retention overtook this reader; the items topic has gaps by compaction."""
        expected = self._next.get(part, offset)
        if part.topic == SAMPLES_TOPIC and offset != expected:
            self.lost += max(0, offset - expected)
            logger.error("%s goes on at %d instead of %d: what lay between is not learnt", part, offset, expected)

    def _position_in_range(self, part: TopicPartition, wanted: int, beginning: int, end: int) -> int:
        """Say loudly where the log does not hold what the checkpoint wants next."""
        if wanted < beginning:
            self.lost += beginning - wanted
            logger.error("%s: %d records were deleted by retention before they were read", part, beginning - wanted)
            return beginning
        if wanted > end:
            logger.error(
                "%s ends at %d, the checkpoint is at %d: another log; reading it from its start", part, end, wanted
            )
            return beginning
        return wanted


def _name(part: TopicPartition) -> str:
    return f"{part.topic}:{part.partition}"
