"""Hand-written stand-ins for what tests must not start: shared by all packages, only ever added to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.future import Future


class FakeFuture:
    """A produced record's future that never fails by itself."""

    def __init__(self) -> None:
        self._errbacks: list[Callable[[BaseException], Any]] = []

    def add_errback(self, call: Callable[[BaseException], Any]) -> None:
        """Keep a callback for `fail`."""
        self._errbacks.append(call)

    def fail(self, error: BaseException) -> None:
        """Tell the callbacks that the record was not written."""
        for call in self._errbacks:
            call(error)


class FakeProducer:
    """A Kafka producer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self.futures: list[FakeFuture] = []
        self.is_closed = False
        self.close_error: Exception | None = None

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> FakeFuture:
        """Keep (topic, key, value)."""
        self.records.append((topic, key, value))
        self.futures.append(FakeFuture())
        return self.futures[-1]

    def close(self, timeout: float | None = None) -> None:
        """Remember being closed, or fail as told."""
        if self.close_error is not None:
            raise self.close_error
        self.is_closed = True


@dataclass(frozen=True)
class FakeRecord:
    """What a Kafka consumer hands out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


class FakeBroker:
    """Topics of one partition that fake consumers read; may be dead.

    Args:
        topics: topics that exist.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self.logs: dict[str, list[FakeRecord]] = {topic: [] for topic in topics}
        self.is_dead = False
        self.is_silent = False
        """Dead as kafka-python shows it to who only polls: no records, and no word of it."""
        self.answers = threading.Event()
        """Not set while questions wait: the broker is paused and the connection stands."""
        self.answers.set()
        self.changed = threading.Condition()

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Write one record."""
        with self.changed:
            log = self.logs[topic]
            log.append(FakeRecord(topic, 0, len(log), key, value))
            self.changed.notify_all()

    def connect(self) -> FakeConsumer:
        """Return a consumer.

        Raises:
            OSError: the broker is dead.
        """
        self.check()
        return FakeConsumer(self)

    def check(self) -> None:
        """Raise where the broker is dead."""
        if self.is_dead:
            raise OSError("the fake broker is dead")


class FakeConsumer:
    """As much of a Kafka consumer as readers use.

    Args:
        broker: what it reads from.
    """

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._positions: dict[TopicPartition, int] = {}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """Return the partitions, None for a topic that does not exist."""
        return {0} if topic in self._broker.logs else None

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions from the beginning."""
        self._positions = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at `offset`."""
        self._positions[partition] = offset

    def position(self, partition: TopicPartition) -> int:
        """Return the next offset to read."""
        return self._positions[partition]

    def end_offsets(
        self, partitions: Iterable[TopicPartition], timeout_ms: int | None = None
    ) -> dict[TopicPartition, int]:
        """Return where the logs end.

        Raises:
            KafkaTimeoutError: the broker is silent.
        """
        self._broker.answers.wait()
        if self._broker.is_silent:
            raise KafkaTimeoutError(f"no answer within {timeout_ms} ms")
        return {part: len(self._broker.logs[part.topic]) for part in partitions}

    def poll(self, timeout_ms: int = 0, max_records: int = 500) -> dict[TopicPartition, list[FakeRecord]]:
        """Return what is new, waiting for it at most `timeout_ms`."""
        with self._broker.changed:
            self._broker.check()
            found = self._take(max_records)
            if not found:
                self._broker.changed.wait(timeout_ms / 1000.0)
                found = self._take(max_records)
            return found

    def close(self) -> None:
        """Do nothing."""

    def _take(self, max_records: int) -> dict[TopicPartition, list[FakeRecord]]:
        found: dict[TopicPartition, list[FakeRecord]] = {}
        if self._broker.is_silent:
            return found
        for part, position in self._positions.items():
            records = self._broker.logs[part.topic][position : position + max_records]
            if records:
                found[part] = records
                self._positions[part] = position + len(records)
        return found


class FakeFeatureConsumer:
    """A Kafka consumer over lists of records, one list per (topic, partition).

    Args:
        records: what the topics hold; an offset is an index.
        poll_size: records handed out per partition and poll.
    """

    def __init__(self, records: dict[tuple[str, int], list[Any]], poll_size: int = 100) -> None:
        self.records = records
        self.poll_size = poll_size
        self.positions: dict[tuple[str, int], int] = {}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """Return the partitions that `records` names."""
        return {partition for name, partition in self.records if name == topic} or None

    def assign(self, partitions: list[tuple[str, int]]) -> None:
        """Read from the beginning of each."""
        self.positions = dict.fromkeys(partitions, 0)

    def assignment(self) -> set[tuple[str, int]]:
        """Return what is read."""
        return set(self.positions)

    def seek(self, partition: tuple[str, int], offset: int) -> None:
        """Go to an offset."""
        self.positions[partition] = offset

    def seek_to_beginning(self, partition: tuple[str, int]) -> None:
        """Go to the first record."""
        self.positions[partition] = 0

    def position(self, partition: tuple[str, int]) -> int:
        """Return the next offset."""
        return self.positions[partition]

    def highwater(self, partition: tuple[str, int]) -> int:
        """Return the offset behind the last record."""
        return len(self.records[partition])

    def poll(self, timeout_ms: int = 0, max_records: int = 0) -> dict[tuple[str, int], list[Any]]:
        """Hand out the next records of every partition."""
        batches = {}
        for partition, position in self.positions.items():
            batch = self.records[partition][position : position + self.poll_size]
            self.positions[partition] = position + len(batch)
            if batch:
                batches[partition] = batch
        return batches


class FakeKafka:
    """A `KafkaProducer` whose acknowledgements the test gives, oldest first."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self.send_error: Exception | None = None
        self._pending: list[Any] = []

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> Future:
        """Keep (topic, key, value) and return kafka-python's own future."""
        if self.send_error is not None:
            raise self.send_error
        self.records.append((topic, key, value))
        self._pending.append(Future())
        return self._pending[-1]

    def acknowledge(self, partition: int, offset: int, timestamp: int) -> None:
        """Acknowledge the oldest record."""
        self._pending.pop(0).success(SimpleNamespace(partition=partition, offset=offset, timestamp=timestamp))

    def fail(self, error: Exception) -> None:
        """Fail the oldest record."""
        self._pending.pop(0).failure(error)

    def flush(self, timeout: float | None = None) -> None:
        """Acknowledge all that is left."""
        for offset in range(len(self._pending)):
            self.acknowledge(0, offset, 0)

    def close(self, timeout: float | None = None) -> None:
        """Close."""
