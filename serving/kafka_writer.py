"""Writes records to Kafka from a thread of its own, so that no request waits for a broker."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.kafka_connection import kafka_settings

logger = logging.getLogger(__name__)

_BACKOFF_S = 1.0
_GATHER_S = 0.02
"""Records of so long are written together: to wake this thread for each would cost every request a switch."""


class Producer(Protocol):
    """What is used of a Kafka producer."""

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> Any:
        """Queue a record and return a future."""

    def close(self, timeout: float | None = None) -> None:
        """Send what is queued, then close."""


@dataclass(frozen=True)
class Record:
    """A record that is encoded when its turn comes, in the writer's thread."""

    topic: str
    key: str
    encode: Callable[[], bytes]


def connect_producer(bootstrap_servers: str) -> Producer:
    """Connect a producer whose `send` waits at most one second for a broker.

    Raises:
        KafkaError: no broker answers.
    """
    producer: Producer = KafkaProducer(
        **kafka_settings(bootstrap_servers),
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=5000,
        max_block_ms=1000,
        delivery_timeout_ms=30_000,
        request_timeout_ms=10_000,
        linger_ms=5,
        reconnect_backoff_max_ms=1000,
    )
    return producer


class KafkaWriter(Collector):
    """A bounded queue and the thread that empties it into Kafka.

    Args:
        connect: makes a producer; called again until it succeeds.
        queue_size: records that may wait; more are dropped and counted.
    """

    def __init__(self, connect: Callable[[], Producer], queue_size: int) -> None:
        self._connect = connect
        self._queue: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._queue_size = queue_size
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka writer", daemon=True)
        self._counting = threading.Lock()
        self._sent = 0
        self._dropped = 0

    @property
    def sent(self) -> int:
        """Records given to the producer and not refused."""
        return self._sent

    @property
    def dropped(self) -> int:
        """Records lost: the queue was full, or Kafka did not take them in time."""
        return self._dropped

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        records = CounterMetricFamily("headrace_serving_written_records", "Records for Kafka.", labels=["result"])
        records.add_metric(["sent"], self._sent)
        records.add_metric(["dropped"], self._dropped)
        waiting = GaugeMetricFamily(
            "headrace_serving_waiting_records", "Records in the buffer.", value=self._queue.qsize()
        )
        yield from (records, waiting)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def put(self, record: Record) -> None:
        """Queue one record, or drop and count it where the queue is full; never waits."""
        # A queue with a bound of its own takes two locks and a condition, and a request pays for them.
        if self._queue.qsize() < self._queue_size:
            self._queue.put(record)
        else:
            self._count(dropped=1)

    def stop(self, timeout_s: float) -> None:
        """Write what is queued and end the thread; what is left after `timeout_s` is lost."""
        self._is_stopping.set()
        if (waiting := self._queue.qsize()) >= self._queue_size:
            logger.warning("stopping with %d records queued", waiting)
        self._queue.put(None)  # Wakes a waiting thread.
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                producer = self._connect()
            except (KafkaError, OSError) as error:
                logger.warning("the writer cannot reach Kafka (%s); trying again", error)
                self._is_stopping.wait(_BACKOFF_S)
                continue
            self._write_until_stopped(producer)

    def _write_until_stopped(self, producer: Producer) -> None:
        """Send queued records until told to stop and nothing is left."""
        try:
            while not (self._is_stopping.is_set() and self._queue.empty()):
                record = self._queue.get()
                self._is_stopping.wait(_GATHER_S)
                while True:
                    if record is not None:
                        self._write(producer, record)
                    if self._queue.empty():
                        break
                    time.sleep(0.0)  # Whoever waits for the interpreter comes first: nobody waits for a record.
                    record = self._queue.get_nowait()
        finally:
            _close(producer)

    def _write(self, producer: Producer, record: Record) -> None:
        try:
            future = producer.send(record.topic, value=record.encode(), key=record.key.encode())
        except (KafkaError, ValueError) as error:
            self._count(dropped=1)
            logger.warning("dropped a record for %s: %s", record.topic, error)
        else:
            self._count(sent=1)
            future.add_errback(self._count_failure)

    def _count_failure(self, error: BaseException) -> None:
        self._count(sent=-1, dropped=1)
        logger.warning("a record was not written: %s", error)

    def _count(self, sent: int = 0, dropped: int = 0) -> None:
        with self._counting:  # Three threads count: the loop, ours and the producer's.
            self._sent += sent
            self._dropped += dropped


def _close(producer: Producer) -> None:
    """Close a producer; one that still holds records raises, however long it was given."""
    try:
        producer.close(timeout=2)
    except KafkaError as error:
        logger.warning("stopped with records that Kafka did not take: %s", error)
