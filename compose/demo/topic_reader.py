"""What the stack made of the events, read off Kafka in a thread: samples, dead letters, announcements."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from trainer.delta_chunks import TOPIC as DELTAS_TOPIC
from trainer.delta_chunks import first_chunk_manifest
from trainer.errors import VersionError

SAMPLES_TOPIC = "headrace.samples.v1"
DEAD_LETTERS_TOPIC = "headrace.events.dlq.v1"
MODELS_TOPIC = "headrace.models.v1"
EVENTS_TOPIC = "headrace.events.v1"


@dataclass(frozen=True, slots=True)
class SampleSeen:
    """One sample; `event_id` is empty for impressions."""

    event_id: str
    kind: str
    partition: str
    offset: int


@dataclass(frozen=True, slots=True)
class DeadLetterSeen:
    """One refused event."""

    event_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnnouncementSeen:
    """One model version: an announced snapshot, or a delta."""

    version: str
    next_offsets: dict[str, int] = field(hash=False)


Seen = SampleSeen | DeadLetterSeen | AnnouncementSeen


class _SampleJson(msgspec.Struct):
    kind: str = ""
    event_id: str = ""


class _DeadLetterJson(msgspec.Struct):
    raw: str = ""
    reason: str = ""


class _EventJson(msgspec.Struct):
    event_id: str = ""


class _AnnouncementJson(msgspec.Struct):
    version: str
    sample_offsets: dict[str, int] = {}


_decode_sample = msgspec.json.Decoder(_SampleJson).decode
_decode_dead_letter = msgspec.json.Decoder(_DeadLetterJson).decode
_decode_event = msgspec.json.Decoder(_EventJson).decode
_decode_announcement = msgspec.json.Decoder(_AnnouncementJson).decode


def decode_record(topic: str, partition: int, offset: int, value: bytes | None) -> Seen | None:
    """Read one record; None where it holds nothing that the demo can use."""
    if value is None:
        return None
    try:
        if topic == SAMPLES_TOPIC:
            sample = _decode_sample(value)
            return SampleSeen(sample.event_id, sample.kind, f"{topic}:{partition}", offset)
        if topic == MODELS_TOPIC:
            announcement = _decode_announcement(value)
            return AnnouncementSeen(announcement.version, announcement.sample_offsets)
        if topic == DELTAS_TOPIC:
            manifest = first_chunk_manifest(value)
            return None if manifest is None else AnnouncementSeen(manifest.version, manifest.sample_offsets)
        letter = _decode_dead_letter(value)
        return DeadLetterSeen(_event_id_of(letter.raw), letter.reason)
    except (msgspec.DecodeError, UnicodeDecodeError, VersionError):
        return None


def _event_id_of(raw: str) -> str:
    """Find the id in a dead letter's original bytes, empty where they are no event."""
    try:
        return _decode_event(base64.b64decode(raw)).event_id
    except (msgspec.DecodeError, ValueError):
        return ""


class TopicReader:
    """Follows samples, dead letters and announcements from now on, without a consumer group.

    Args:
        bootstrap: Kafka address.
        deliver: called in the reader's thread with what one poll brought.
    """

    def __init__(self, bootstrap: str, deliver: Callable[[list[Seen]], object]) -> None:
        self._bootstrap = bootstrap
        self._deliver = deliver
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-topic-reader", daemon=True)
        self._is_at_end = threading.Event()

    def start(self, timeout_s: float = 30.0) -> None:
        """Start, and return once the ends of the topics are fixed: nothing sent later can be missed.

        Raises:
            TimeoutError: Kafka did not answer.
        """
        self._thread.start()
        if not self._is_at_end.wait(timeout_s):
            raise TimeoutError(f"Kafka at {self._bootstrap} did not say where its topics end within {timeout_s:g} s")

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        consumer: Any = None
        positions: dict[Any, int] = {}
        while not self._stopping.is_set():
            try:
                consumer = consumer or self._open(positions)
                for found in _values(consumer.poll(timeout_ms=100, max_records=1000)):
                    self._deliver_records(found, positions)
            except KafkaError:
                _close(consumer)
                consumer = None
                self._stopping.wait(0.5)
        _close(consumer)

    def _open(self, positions: dict[Any, int]) -> Any:
        """Open a consumer at `positions`, at first (when empty) at the ends."""
        consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
            isolation_level="read_committed",  # Of deltas: an aborted one never was.
        )
        try:
            topics = (SAMPLES_TOPIC, DEAD_LETTERS_TOPIC, MODELS_TOPIC, DELTAS_TOPIC)
            partitions = [TopicPartition(t, p) for t in topics for p in sorted(consumer.partitions_for_topic(t) or ())]
            if not partitions:
                raise KafkaError("the topics do not exist yet")
            consumer.assign(partitions)
            for partition, end in consumer.end_offsets(partitions).items():
                consumer.seek(partition, positions.setdefault(partition, end))
        except BaseException:
            consumer.close()
            raise
        self._is_at_end.set()
        return consumer

    def _deliver_records(self, records: list[Any], positions: dict[Any, int]) -> None:
        decoded = (decode_record(r.topic, r.partition, r.offset, r.value) for r in records)
        self._deliver([seen for seen in decoded if seen is not None])
        last = records[-1]
        positions[TopicPartition(last.topic, last.partition)] = last.offset + 1


def _values(polled: dict[Any, list[Any]]) -> Iterable[list[Any]]:
    return (records for records in polled.values() if records)


def _close(consumer: Any) -> None:
    """Close quietly: the broker may be gone."""
    if consumer is None:
        return
    with contextlib.suppress(KafkaError):
        consumer.close()
