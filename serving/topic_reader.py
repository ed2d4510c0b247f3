"""Reads Kafka topics in a thread, from their beginning or from now on; the event loop gets small batches, decoded."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from features.kafka_connection import kafka_settings

logger = logging.getLogger(__name__)

Decoded = TypeVar("Decoded")

_BATCHES_IN_FLIGHT = 4
"""Batches the loop has not applied yet; the thread waits beyond, so that a catch-up never starves requests."""
_POLL_MS = 200
_BACKOFF_S = (0.2, 5.0)
_SILENT_S = 1.0
"""A broker that sent nothing for so long is asked whether it is there: kafka-python polls a dead one without a word."""
_UNHEARD_S = 2.0
"""And one whose last word is so old is not believed in, though it may still answer what it was asked."""
_ANSWER_MS = 4000
_JOIN_S = 3.0
"""A thread inside a connection attempt is left behind; it is a daemon and holds nothing."""


def connect_consumer(bootstrap_servers: str) -> Any:
    """Connect a consumer that commits nothing.

    Raises:
        KafkaError: no broker answers.
    """
    return KafkaConsumer(
        **kafka_settings(bootstrap_servers),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=5000,
        reconnect_backoff_max_ms=1000,
        isolation_level="read_committed",
    )


class TopicReader(Generic[Decoded]):
    """Follows topics with consumer positions of its own; nothing is committed, a restart reads from the beginning.

    Args:
        connect: makes a consumer; called again after a failure.
        topics: what to read, all partitions.
        decode: turns one consumer record into what `apply` takes, in the thread; None skips the record.
        apply: takes a batch, on the event loop.
        batch_size: most records in a batch.
        is_from_end: read only what comes after the first connection.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        topics: Sequence[str],
        decode: Callable[[Any], Decoded | None],
        apply: Callable[[list[Decoded]], None],
        batch_size: int = 200,
        is_from_end: bool = False,
    ) -> None:
        self._connect = connect
        self._topics = tuple(topics)
        self._decode = decode
        self._apply = apply
        self._batch_size = batch_size
        self._is_from_end = is_from_end
        self._next_offsets: dict[TopicPartition, int] = {}
        self._room = threading.Semaphore(_BATCHES_IN_FLIGHT)
        self._is_stopping = threading.Event()
        self._has_caught_up = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"read {self._topics[0]}", daemon=True)
        self._is_reading = False
        self._heard_s = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the broker said something of late, if only that there is nothing new."""
        return self._is_reading and time.monotonic() - self._heard_s < _UNHEARD_S

    def start(self) -> None:
        """Begin reading; call on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def wait_until_caught_up(self, timeout_s: float) -> bool:
        """Wait until what was in the topics at the first connection is applied; False where that took too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_caught_up.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End the thread; the loop must still run, as the thread may wait for it."""
        self._is_stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _JOIN_S)

    def next_offsets(self) -> dict[str, int]:
        """Return `topic:partition` -> next offset to read."""
        return {f"{part.topic}:{part.partition}": offset for part, offset in self._next_offsets.items()}

    def _run(self) -> None:
        """Read until stopped; a dead broker costs a pause, never the thread."""
        pause_s = _BACKOFF_S[0]
        while not self._is_stopping.is_set():
            started_s = time.monotonic()
            try:
                self._read_until_stopped()
            except (KafkaError, OSError, ValueError) as error:
                if not self._is_stopping.is_set():
                    logger.warning("reading %s failed (%s); trying again in %.1f s", self._topics, error, pause_s)
            self._is_reading = False
            self._is_stopping.wait(pause_s)
            lasted_s = time.monotonic() - started_s
            pause_s = _BACKOFF_S[0] if lasted_s > 2 * _BACKOFF_S[1] else min(2 * pause_s, _BACKOFF_S[1])

    def _read_until_stopped(self) -> None:
        consumer = self._connect()
        try:
            end_offsets = self._assign(consumer)
            first = next(iter(end_offsets))
            while not self._is_stopping.is_set():
                polled = consumer.poll(timeout_ms=_POLL_MS, max_records=self._batch_size)
                for part, records in polled.items():
                    self._heard_s = time.monotonic()
                    self._hand_over(part, records)
                if not polled and time.monotonic() - self._heard_s > _SILENT_S:
                    consumer.end_offsets([first], timeout_ms=_ANSWER_MS)  # Raises where nobody answers.
                    self._heard_s = time.monotonic()
                if end_offsets and all(consumer.position(part) >= end for part, end in end_offsets.items()):
                    end_offsets = {}
                    self._on_loop(self._has_caught_up.set)
        finally:
            consumer.close()

    def _assign(self, consumer: Any) -> dict[TopicPartition, int]:
        """Take all partitions at the remembered positions and return where the topics end now.

        Raises:
            ValueError: a topic does not exist yet.
        """
        partitions = []
        for topic in self._topics:
            numbers = consumer.partitions_for_topic(topic)
            if not numbers:
                raise ValueError(f"topic {topic} does not exist yet; `headrace topics create` makes it")
            partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        end_offsets: dict[TopicPartition, int] = consumer.end_offsets(partitions)
        for part in partitions:
            consumer.seek(part, self._next_offsets.setdefault(part, end_offsets[part] if self._is_from_end else 0))
        self._is_reading, self._heard_s = True, time.monotonic()
        return end_offsets

    def _hand_over(self, part: TopicPartition, records: list[Any]) -> None:
        """Decode records and let the loop apply them; waits while the loop is behind."""
        batch = [decoded for record in records if (decoded := self._decode(record)) is not None]
        next_offset = records[-1].offset + 1
        while not self._room.acquire(timeout=0.2):
            if self._is_stopping.is_set():
                return
        self._on_loop(lambda: self._apply_on_loop(part, batch, next_offset))

    def _on_loop(self, call: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _apply_on_loop(self, part: TopicPartition, batch: list[Decoded], next_offset: int) -> None:
        try:
            self._apply(batch)
            self._next_offsets[part] = next_offset
        finally:
            self._room.release()
