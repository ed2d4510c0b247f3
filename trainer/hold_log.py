"""The Kafka side of holds: profiles and orders as they come, and ranges of samples to be read again.

Two consumers of their own, so that neither ever stands in the way of live samples; none has a group.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import CorruptRecordError, KafkaError

from features.kafka_connection import kafka_settings
from features.kafka_consumer import TopicConsumer
from features.quality.hold_table import CONTROL_TOPIC
from features.quality.profile import QUALITY_TOPIC
from trainer.sample_log import LogRecord

_LOOK_AGAIN_S = 5.0
_CATCH_UP_MS = 200
_PAUSE_S = 0.2
_RANGE_MS = 100
"""Longest that live samples wait for a range that is read again."""

logger = logging.getLogger(__name__)


class HoldLog:
    """Reads `headrace.quality.v1` and `headrace.control.v1`; what is not there yet is tried again, broker included.

    Args:
        bootstrap_servers: `host:port[,host:port]`.
        follows_quality: read profiles too, not only orders.
    """

    def __init__(self, bootstrap_servers: str, follows_quality: bool = True) -> None:
        self._wanted = (QUALITY_TOPIC, CONTROL_TOPIC) if follows_quality else (CONTROL_TOPIC,)
        self._servers = bootstrap_servers
        self._consumer: Any = None
        self._ranges: Any = None
        """Consumer for ranges, connected when first needed."""
        self._range_name = ""
        self._offsets: dict[str, int] = {}
        self._ends: dict[TopicPartition, int] | None = None
        """Where the topics ended when they were first seen; None before."""
        self._topics: set[str] = set()
        self._looked_s = float("-inf")
        self._resume_s = float("-inf")
        """Behind a damaged record nothing is asked before: live samples must not wait for it."""

    def start(self, offsets: Mapping[str, int]) -> None:
        """Begin at `offsets` (`topic:partition` -> next), at the beginning where there is none."""
        self._offsets = dict(offsets)

    def has_caught_up(self) -> bool:
        """Say whether all that the topics held when they were first seen is read."""
        if self._ends is None:
            return False
        return all(self._offsets.get(_name(part), 0) >= end for part, end in self._ends.items())

    def poll(self) -> list[LogRecord]:
        """Return what has come; waits only while catching up."""
        try:
            if len(self._topics) < len(self._wanted) and time.monotonic() - self._looked_s >= _LOOK_AGAIN_S:
                self._assign()
            if not self._topics or time.monotonic() < self._resume_s:
                time.sleep(0.0 if self.has_caught_up() else _PAUSE_S)
                return []
            polled = self._consumer.poll(timeout_ms=0 if self.has_caught_up() else _CATCH_UP_MS)
        except CorruptRecordError as error:
            logger.error("a record is damaged where Kafka keeps it, no hold behind it is known (%s)", error)
            self._resume_s = time.monotonic() + _LOOK_AGAIN_S
            return []
        except (KafkaError, OSError) as error:
            logger.warning("reading holds failed (%s); trying again", error)
            time.sleep(_PAUSE_S)
            return []
        records = [_record(record) for found in polled.values() for record in found]
        self._offsets |= {f"{record.topic}:{record.partition}": record.offset + 1 for record in records}
        return records

    def read_range(self, name: str, offset: int, end: int, limit: int) -> tuple[list[LogRecord], int, int]:
        """Return records within [offset, end), the next offset to ask for, and how many were deleted before."""
        topic, _, partition = name.rpartition(":")
        part = TopicPartition(topic, int(partition))
        try:
            if self._ranges is None:
                self._ranges = self._connect()
            if self._range_name != name:
                self._ranges.assign([part])
                self._range_name = name
            if self._ranges.position(part) != offset:
                self._ranges.seek(part, offset)
            polled = self._ranges.poll(timeout_ms=_RANGE_MS, max_records=limit)
            found = polled.get(part, [])
            first = found[0].offset if found else self._ranges.beginning_offsets([part])[part]
        except CorruptRecordError as error:
            logger.error("a held sample is damaged where Kafka keeps it, it cannot be released (%s)", error)
            return [], offset, 0
        except (KafkaError, OSError) as error:
            logger.warning("reading released samples failed (%s); trying again", error)
            return [], offset, 0
        lost = max(0, min(first, end) - offset)
        records = [_record(record) for record in found if record.offset < end]
        behind = found[-1].offset + 1 if found else max(offset, first)
        return records, min(behind, end), lost

    def close(self) -> None:
        """Close the connections."""
        for consumer in (self._consumer, self._ranges):
            if consumer is not None:
                consumer.close()

    def _assign(self) -> None:
        """Take the partitions that there are, each where it was."""
        self._looked_s = time.monotonic()
        self._consumer = self._consumer or self._connect()
        parts = [
            TopicPartition(topic, number)
            for topic in self._wanted
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        firsts, ends = self._consumer.beginning_offsets(parts), self._consumer.end_offsets(parts)
        self._consumer.assign(parts)
        for part in parts:
            wanted = self._offsets.get(_name(part), -1)
            # Never read, deleted meanwhile, or another log than the checkpoint's: from its beginning.
            offset = self._offsets[_name(part)] = wanted if firsts[part] <= wanted <= ends[part] else firsts[part]
            self._consumer.seek(part, offset)
        self._topics = {part.topic for part in parts}
        if not self.has_caught_up():  # Who has once goes on without waiting, whatever cannot be read later.
            self._ends = ends

    def _connect(self) -> Any:
        return TopicConsumer(
            **kafka_settings(self._servers),
            client_id="headrace-trainer-holds",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=500,
            metadata_max_age_ms=15_000,
            reconnect_backoff_max_ms=1000,
            bootstrap_timeout_ms=5000,
        )


def _name(part: TopicPartition) -> str:
    return f"{part.topic}:{part.partition}"


def _record(record: Any) -> LogRecord:
    return LogRecord(record.topic, record.partition, record.offset, record.key, record.value, record.timestamp)
