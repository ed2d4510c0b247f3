"""The Kafka side of the quality job: one consumer without a group over four topics, and a producer of profiles."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
from kafka import KafkaProducer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError

from features.kafka_connection import kafka_settings
from features.kafka_consumer import TopicConsumer
from features.quality.hold_table import CONTROL_TOPIC, QualityOrder, decode_order
from features.quality.open_windows import DEAD_LETTERS_TOPIC, EVENTS_TOPIC
from features.quality.profile import QUALITY_TOPIC, Profile, decode_profile, encode_profile

MAX_POLL_RECORDS = 2000
_TIMEOUT_S = 10.0
_READ_BACK_MS = 500
_DAMAGED_PAUSE_S = 1.0

_CLIENT = "headrace-quality"
_log = logging.getLogger(__name__)


class StopSignal(Protocol):
    """What the job needs of `threading.Event`."""

    def is_set(self) -> bool:
        """Say whether to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep, but no longer than until the stop."""


class QualityLog:
    """Reads events, dead letters and orders from positions of its own, and what the job itself wrote before.

    Args:
        consumer: a `TopicConsumer` without a group, auto-commit off.
        producer: a `kafka.KafkaProducer` that waits for all acknowledgements.
    """

    def __init__(self, consumer: Any, producer: Any) -> None:
        self._consumer = consumer
        self._producer = producer
        self._followed: list[TopicPartition] = []
        self._paused: set[str] = set()

    def missing_topics(self) -> list[str]:
        """Return the topics that do not exist yet."""
        topics = (EVENTS_TOPIC, DEAD_LETTERS_TOPIC, CONTROL_TOPIC, QUALITY_TOPIC)
        return [topic for topic in topics if not self._consumer.partitions_for_topic(topic)]

    def read_profiles(self, stop: StopSignal) -> list[Profile]:
        """Return the newest final profile of every window on the quality topic, oldest first."""
        profiles: dict[int, Profile] = {}
        for record in self._read_to_end(QUALITY_TOPIC, stop):
            try:
                profile = decode_profile(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError):
                _log.warning("left out %s offset %d: it is no profile", QUALITY_TOPIC, record.offset)
                continue
            if profile.is_final:
                profiles[profile.window_start_ms] = profile
        return [profiles[start_ms] for start_ms in sorted(profiles)]

    def read_orders(self, stop: StopSignal) -> list[QualityOrder]:
        """Return all quality orders on the control topic."""
        orders = (decode_order(record.value) for record in self._read_to_end(CONTROL_TOPIC, stop))
        return [order for order in orders if order is not None]

    def first_offsets(self) -> dict[str, int]:
        """Return `topic:partition` -> first offset of the topics that windows are made of."""
        return {name_of(part): offset for part, offset in self._consumer.beginning_offsets(self._sources()).items()}

    def offsets_at(self, time_ms: int) -> dict[str, int]:
        """Return `topic:partition` -> first offset at or after a broker time."""
        parts = self._sources()
        found = self._consumer.offsets_for_times(dict.fromkeys(parts, time_ms))
        ends = self._consumer.end_offsets(parts)
        return {name_of(p): ends[p] if found.get(p) is None else found[p].offset for p in parts}

    def follow(self, offsets: Mapping[str, int]) -> None:
        """Read the sources from `offsets` on, and orders from the end of what `read_orders` returned."""
        control = [part for part in self._partitions(CONTROL_TOPIC)]
        control_next = {part: self._consumer.position(part) for part in control}
        sources = self._sources()
        firsts, ends = self._consumer.beginning_offsets(sources), self._consumer.end_offsets(sources)
        self._followed = sources
        self._consumer.assign([*sources, *control])
        for part, offset in control_next.items():
            self._consumer.seek(part, offset)
        for part in sources:
            wanted = offsets.get(name_of(part), firsts[part])
            if not firsts[part] <= wanted <= ends[part]:
                _log.error(
                    "%s holds %d to %d, not %d: some windows lack records", part, firsts[part], ends[part], wanted
                )
            self._consumer.seek(part, min(max(wanted, firsts[part]), ends[part]))

    def poll(self, timeout_ms: int) -> Iterable[tuple[str, int, Any]]:
        """Return (topic, partition, record) of what has come; nothing of a partition behind a damaged record."""
        polled = self._poll(timeout_ms)
        return [(part.topic, part.partition, record) for part, records in polled.items() for record in records]

    def drained(self) -> set[str]:
        """Return the source partitions that are read to their end, as last heard from the broker."""
        return {
            name_of(part)
            for part in self._followed
            if self._consumer.highwater(part) is not None
            and self._consumer.position(part) >= self._consumer.highwater(part)
        }

    def lag(self) -> int:
        """Return the source records not yet read, as of the last fetch."""
        newest = {part: self._consumer.highwater(part) for part in self._followed}
        return sum(max(0, end - self._consumer.position(part)) for part, end in newest.items() if end is not None)

    def pause_only(self, names: set[str]) -> None:
        """Let these partitions wait, and no others."""
        if names == self._paused:
            return
        by_name = {name_of(part): part for part in self._followed}
        self._consumer.resume(*(by_name[name] for name in self._paused - names))
        self._consumer.pause(*(by_name[name] for name in names - self._paused))
        self._paused = names

    def publish(self, profiles: Iterable[Profile], stop: StopSignal) -> bool:
        """Write profiles and wait until Kafka has them, however long that takes; False when stopped before."""
        left = list(profiles)
        while left:
            try:
                key = str(left[0].window_start_ms).encode()
                self._producer.send(QUALITY_TOPIC, key=key, value=encode_profile(left[0])).get(timeout=_TIMEOUT_S)
                left.pop(0)
            except KafkaError as error:
                _log.warning("a profile is not written (%s); trying again until it is", error)
                if stop.wait(1.0):
                    return False
        return True

    def close(self) -> None:
        """Close both connections."""
        with contextlib.suppress(KafkaError):  # Raised where a profile waits for a dead broker: it is made again then.
            self._producer.close(timeout=2.0)
        self._consumer.close()

    def _sources(self) -> list[TopicPartition]:
        return [*self._partitions(EVENTS_TOPIC), *self._partitions(DEAD_LETTERS_TOPIC)]

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in sorted(self._consumer.partitions_for_topic(topic) or ())]

    def _read_to_end(self, topic: str, stop: StopSignal) -> Iterable[Any]:
        """Yield what a topic holds now, partition by partition from its beginning."""
        parts = self._partitions(topic)
        ends = self._consumer.end_offsets(parts)
        self._consumer.assign(parts)
        for part in parts:
            self._consumer.seek_to_beginning(part)
        while not stop.is_set() and any(self._consumer.position(part) < end for part, end in ends.items()):
            for records in self._poll(_READ_BACK_MS).values():
                yield from records

    def _poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        try:
            polled: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms, MAX_POLL_RECORDS)
        except CorruptRecordError as error:
            _log.error("a record is damaged where Kafka keeps it, nothing behind it is judged (%s)", error)
            time.sleep(_DAMAGED_PAUSE_S)
            return {}
        return polled


def name_of(part: Any) -> str:
    """Return `topic:partition`."""
    return f"{part.topic}:{part.partition}"


def connect(bootstrap_servers: str, stop: StopSignal, backoff_s: Callable[[int], float]) -> QualityLog | None:
    """Return the log, or None when stopped before a broker answered."""
    attempt = 0
    while not stop.is_set():
        try:
            consumer = TopicConsumer(
                **kafka_settings(bootstrap_servers),
                client_id=_CLIENT,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                fetch_max_wait_ms=500,
                metadata_max_age_ms=15_000,
                reconnect_backoff_max_ms=1000,
                bootstrap_timeout_ms=5000,
            )
            return QualityLog(
                consumer,
                KafkaProducer(**kafka_settings(bootstrap_servers), client_id=_CLIENT, acks="all", max_block_ms=5000),
            )
        except KafkaError as error:
            if attempt == 0:
                _log.warning("no Kafka at %s yet (%s); trying again", bootstrap_servers, error)
            stop.wait(backoff_s(attempt))
            attempt += 1
    return None
