"""The samples and items topics as one log with positions of our own: no consumer group, nothing committed.

Positions live in the trainer's checkpoint, beside the weights that they belong to. What a topic no longer holds is
a gap (`trainer.gaps`), and every gap is told.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from kafka import TopicPartition
from kafka.errors import CorruptRecordError, KafkaError

from features.kafka_connection import kafka_settings
from features.kafka_consumer import TopicConsumer
from trainer.errors import SampleError
from trainer.gaps import RECREATED, RETENTION, TRUNCATED, Gap
from trainer.samples import Sample

SAMPLES_TOPIC = "headrace.samples.v1"
ITEMS_TOPIC = "headrace.items.v1"
_PAUSE_S = 0.2
_DAMAGED_PAUSE_S = 1.0
_RANGE_POLL_MS = 200
_ASK_END_S = 2.0
"""How often a range that does not come is held against the end of its partition."""

logger = logging.getLogger(__name__)


class LogRecord(NamedTuple):
    """One record of either topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    decoded: Sample | SampleError | None = None
    """Of a sample that was decoded ahead."""

    @property
    def name(self) -> str:
        """`topic:partition`."""
        return f"{self.topic}:{self.partition}"


class Log(Protocol):
    """What the trainer needs of `SampleLog`."""

    topic_ids: dict[str, str]
    """Topic -> id, of topics whose broker tells one."""

    def start(self, offsets: Mapping[str, int], topic_ids: Mapping[str, str]) -> bool:
        """Go to the positions where a replayed batch log ends; False where the log does not answer yet."""

    def offsets_at(self, time_ms: int) -> dict[str, int] | None:
        """Return where each partition of the samples holds its first record that the broker took at or after a time.

        Its end where there is none. None where the log does not answer yet.
        """

    def read_range(self, name: str, first: int, end: int) -> list[LogRecord] | None:
        """Return the records of a partition within [first, end), as far as there are any; before `start` only.

        Ranges of a partition are asked for in rising order. None where the log does not answer yet.
        """

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Return what has arrived, waiting at most `timeout_ms`."""

    def take_gaps(self) -> list[Gap]:
        """Return the gaps noticed since the last call; they lie before the records of the last `poll`."""

    def end_offsets(self) -> dict[str, int]:
        """Return `topic:partition` -> end as last heard."""

    def close(self) -> None:
        """End the connection."""


class SampleLog:
    """Follows both topics, all partitions, from given positions.

    Args:
        bootstrap_servers: `host:port[,host:port]`.
        max_poll_records: most records of one `poll`.
        connect: makes the consumer; one of kafka-python by default.

    Raises:
        KafkaError: no broker answers.
    """

    def __init__(
        self, bootstrap_servers: str, max_poll_records: int, connect: Callable[..., Any] = TopicConsumer
    ) -> None:
        self._consumer: Any = connect(
            **kafka_settings(bootstrap_servers),
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
        self._parts: list[TopicPartition] = []
        self._next: dict[TopicPartition, int] = {}
        self._read_ahead: dict[TopicPartition, deque[LogRecord]] = {}
        self._gaps: list[Gap] = []
        self.topic_ids: dict[str, str] = {}

    def find_topics(self) -> bool:
        """Take all partitions; False where a topic does not exist yet."""
        parts = []
        for topic in (SAMPLES_TOPIC, ITEMS_TOPIC):
            numbers = self._consumer.partitions_for_topic(topic)
            if not numbers:
                return False
            parts += [TopicPartition(topic, number) for number in sorted(numbers)]
        self._parts = parts
        self._consumer.assign(parts)
        self.topic_ids = self._ids()
        return True

    def start(self, offsets: Mapping[str, int], topic_ids: Mapping[str, str]) -> bool:
        """Go to `offsets` (`topic:partition` -> next), the beginning where there is none or none can be used.

        Args:
            offsets: where a checkpoint or a replayed batch log ends.
            topic_ids: of the topics that they belong to.

        Returns:
            False where the broker does not answer.
        """
        try:
            beginnings, ends = self._consumer.beginning_offsets(self._parts), self._consumer.end_offsets(self._parts)
        except (KafkaError, OSError) as error:
            logger.warning("the topics do not tell where they begin and end (%s); trying again", error)
            time.sleep(_PAUSE_S)
            return False
        self._read_ahead = {}
        self._consumer.resume(*self._parts)
        for part in self._parts:
            wanted = offsets.get(_name(part), beginnings[part])
            is_other = self._is_other(part.topic, topic_ids)
            position = self._position_in_range(part, wanted, beginnings[part], ends[part], is_other)
            self._next[part] = position
            self._consumer.seek(part, position)
        return True

    def offsets_at(self, time_ms: int) -> dict[str, int] | None:
        """Return where each partition of the samples goes on from a time; tell where retention may have passed it."""
        parts = [part for part in self._parts if part.topic == SAMPLES_TOPIC]
        try:
            # Ends first: what comes in between is then read, not passed over.
            beginnings, ends = self._consumer.beginning_offsets(parts), self._consumer.end_offsets(parts)
            found = self._consumer.offsets_for_times(dict.fromkeys(parts, time_ms))
        except (KafkaError, OSError) as error:
            logger.warning("the topics do not tell where they go on from a time (%s); trying again", error)
            time.sleep(_PAUSE_S)
            return None
        offsets = {part: ends[part] if found[part] is None else found[part].offset for part in parts}
        for part, offset in offsets.items():
            if 0 < beginnings[part] == offset:
                self._gaps.append(Gap(_name(part), 0, offset, RETENTION))
        return {_name(part): offset for part, offset in offsets.items()}

    def read_range(self, name: str, first: int, end: int) -> list[LogRecord] | None:
        """Return the records within [first, end) that are there, in order; None where the broker does not answer."""
        topic, _, number = name.rpartition(":")
        part = TopicPartition(topic, int(number))
        if part not in self._parts:
            return []
        try:
            return self._read_range(part, first, end)
        except CorruptRecordError as error:
            _tell_damage(error)
            return None
        except (KafkaError, OSError) as error:
            logger.warning("reading samples again failed (%s); trying again", error)
            time.sleep(_PAUSE_S)
            return None

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Return what has arrived, waiting at most `timeout_ms` for the first record."""
        try:
            polled = self._consumer.poll(timeout_ms=timeout_ms)
        except CorruptRecordError as error:
            _tell_damage(error)
            return []
        except KafkaError as error:
            logger.warning("reading samples failed (%s); trying again", error)
            time.sleep(_PAUSE_S)
            return []
        polled = {part: records for part, records in polled.items() if records}
        self._note_other_topics(polled)
        for part, records in polled.items():
            self._note_gap(part, records[0].offset)
            self._next[part] = records[-1].offset + 1
        return [_record(record) for records in polled.values() for record in records]

    def take_gaps(self) -> list[Gap]:
        """Return what was missing since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def end_offsets(self) -> dict[str, int]:
        """Return the ends that the broker told with the newest fetches, `topic:partition` -> offset, no round trip."""
        ends = {_name(part): self._consumer.highwater(part) for part in self._parts}
        return {name: end for name, end in ends.items() if end is not None}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _read_range(self, part: TopicPartition, first: int, end: int) -> list[LogRecord] | None:
        if not self._read_ahead:
            self._consumer.pause(*self._parts)
        if part not in self._read_ahead:
            self._read_ahead[part] = deque()
            self._consumer.seek(part, first)
            self._consumer.resume(part)
        ahead = self._read_ahead[part]
        asked_s = time.monotonic()
        while not (ahead and ahead[-1].offset >= end - 1) and (self._consumer.position(part) or 0) < end:
            for other, records in self._consumer.poll(timeout_ms=_RANGE_POLL_MS).items():
                self._read_ahead[other].extend(_record(record) for record in records)
            if time.monotonic() - asked_s >= _ASK_END_S:
                if not self._is_at_end(part, before=end):
                    return None
                break
        found = []
        while ahead and ahead[0].offset < end:
            record = ahead.popleft()
            if record.offset >= first:
                found.append(record)
        return found

    def _is_at_end(self, part: TopicPartition, before: int) -> bool:
        """Say whether a partition is read to its end, and that end lies before an offset."""
        end = self._consumer.end_offsets([part])[part]
        return bool(end < before and (self._consumer.position(part) or 0) >= end)

    def _note_gap(self, part: TopicPartition, offset: int) -> None:
        """Tell where retention overtook this reader or the log jumped back; the items topic has gaps by compaction."""
        expected = self._next.get(part, offset)
        if offset < expected:
            self._gaps.append(Gap(_name(part), offset, expected, TRUNCATED, resume=offset))
        elif offset > expected and part.topic == SAMPLES_TOPIC:
            self._gaps.append(Gap(_name(part), expected, offset, RETENTION, offset - expected, resume=offset))

    def _note_other_topics(self, polled: dict[TopicPartition, list[Any]]) -> None:
        """Tell topics that were deleted and made anew while they were read, and begin them from their start."""
        ids = self._ids()
        for topic, topic_id in ids.items():
            if self.topic_ids.get(topic, topic_id) == topic_id:
                continue
            for part in [part for part in self._parts if part.topic == topic]:
                expected = self._next.get(part, 0)
                self._gaps.append(Gap(_name(part), 0, expected, RECREATED, resume=0, topic_id=topic_id))
                records = polled.get(part, [])
                if not records or records[0].offset >= expected > 0:  # It has not jumped back by itself.
                    polled.pop(part, None)
                    self._consumer.seek(part, 0)
                self._next[part] = 0
        self.topic_ids |= ids

    def _position_in_range(self, part: TopicPartition, wanted: int, beginning: int, end: int, is_other: bool) -> int:
        """Return where to read on, and tell where the log does not hold what is wanted next."""
        name = _name(part)
        if is_other:
            topic_id = self.topic_ids[part.topic]
            self._gaps.append(Gap(name, 0, wanted, RECREATED, resume=beginning, topic_id=topic_id))
            return beginning
        if wanted > end:
            self._gaps.append(Gap(name, end, wanted, TRUNCATED, resume=beginning))
            return beginning
        if wanted < beginning:
            # Compaction does not move the beginning of items, so this is retention or deletion there too.
            self._gaps.append(Gap(name, wanted, beginning, RETENTION, beginning - wanted, resume=beginning))
            return beginning
        return wanted

    def _is_other(self, topic: str, topic_ids: Mapping[str, str]) -> bool:
        known, now = topic_ids.get(topic, ""), self.topic_ids.get(topic, "")
        return bool(known and now and known != now)

    def _ids(self) -> dict[str, str]:
        """Return the ids of the topics as the newest metadata tells them; kafka-python has no public way to ask."""
        cluster = self._consumer._cluster  # noqa: SLF001
        ids = {topic: cluster.topic_id(topic) for topic in {part.topic for part in self._parts}}
        return {topic: str(topic_id) for topic, topic_id in ids.items() if topic_id is not None}


def _tell_damage(error: CorruptRecordError) -> None:
    logger.error("a record is damaged where Kafka keeps it, nothing behind it is learnt (%s); asking again", error)
    time.sleep(_DAMAGED_PAUSE_S)


def _record(record: Any) -> LogRecord:
    return LogRecord(record.topic, record.partition, record.offset, record.key, record.value, record.timestamp)


def _name(part: TopicPartition) -> str:
    return f"{part.topic}:{part.partition}"
