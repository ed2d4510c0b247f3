"""The event producer: acknowledged, in order per user, bounded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError

from headrace_client.errors import (
    BrokerUnavailableError,
    BufferFullError,
    InvalidRecordError,
    NotAcknowledgedError,
)
from headrace_client.records import (
    EVENTS_TOPIC,
    HISTORY_TOPIC,
    ITEMS_TOPIC,
    Event,
    Item,
    check_id,
    complete_event,
    encode_event,
    encode_item,
)

DELIVERY_TIMEOUT_S = 120.0
_LOOK_S = 1.0
"""How often late ones are looked for."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Kafka has the record for good."""

    partition: int
    offset: int
    record_time_ms: int
    """The broker's time of the record."""


class EventProducer:
    """Sends events and item announcements with `acks=all`; safe to share between threads.

    Kafka being away is retried for two minutes without doubling or reordering (idempotent producer).

    Args:
        bootstrap_servers: `host:port[,host:port]`.
        max_pending: records that may wait for their acknowledgement.
        block_s: how long `send` waits for a free place before it raises `BufferFullError`.
        linger_ms: how long a record may wait for others to travel with; 0 for the lowest latency.
        security: settings of kafka-python for TLS and SASL (`security_protocol`, `ssl_cafile`, `sasl_...`); none for
            plain text.

    Raises:
        BrokerUnavailableError: no broker answered.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        max_pending: int = 10_000,
        block_s: float = 1.0,
        linger_ms: int = 0,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._max_pending = max_pending
        self._block_s = block_s
        self._places = threading.BoundedSemaphore(max_pending)
        try:
            self._producer: Any = KafkaProducer(
                **{**(security or {}), "bootstrap_servers": bootstrap_servers.split(",")},
                client_id="headrace-client",
                acks="all",
                linger_ms=linger_ms,
                delivery_timeout_ms=int(DELIVERY_TIMEOUT_S * 1000),
                max_block_ms=5000,
                bootstrap_timeout_ms=5000,
                reconnect_backoff_max_ms=1000,
                allow_auto_create_topics=False,
            )
        except KafkaError as error:
            raise BrokerUnavailableError(f"no Kafka broker answers at {bootstrap_servers}: {error}") from error

        self._waiting: deque[tuple[float, Future[Ack]]] = deque()
        """By the time at which their callers are told; those that ended stay until it is their turn."""
        self._is_closed = threading.Event()
        threading.Thread(target=self._tell_late_ones, name="late acknowledgements", daemon=True).start()

    def send(self, event: Event) -> Future[Ack]:
        """Send an event; `event_id` and `event_time_ms` are filled in where missing.

        Returns:
            A future that resolves when Kafka has the event, or fails with `NotAcknowledgedError`.

        Raises:
            InvalidRecordError: a field breaks a limit; nothing was sent.
            BufferFullError: no place became free in time; nothing was sent.
            BrokerUnavailableError: no broker knows the topic; nothing was sent.
        """
        key, value = encode_event(complete_event(event))
        return self._send(EVENTS_TOPIC, key, value)

    def send_history(self, event: Event) -> Future[Ack]:
        """Send an event of the past, however old; raises as `send` does.

        It needs its own `event_time_ms`, and an `event_id` that is the same whenever this event is sent.

        Raises:
            InvalidRecordError: one of the two is missing, or a field breaks a limit; nothing was sent.
        """
        if not event.event_id or not event.event_time_ms:
            raise InvalidRecordError("an event of the past needs its own event_id and event_time_ms")
        key, value = encode_event(event)
        return self._send(HISTORY_TOPIC, key, value)

    def send_record(self, topic: str, key: bytes | None, value: bytes) -> Future[Ack]:
        """Send bytes as they are, for tools that repeat records; raises as `send` does."""
        return self._send(topic, key, value)

    def announce(self, item: Item) -> Future[Ack]:
        """Announce an item's current state; raises as `send` does."""
        key, value = encode_item(item)
        return self._send(ITEMS_TOPIC, key, value)

    def delete_item(self, item_id: str) -> Future[Ack]:
        """Delete an item for good; raises as `send` does."""
        check_id("item_id", item_id)
        return self._send(ITEMS_TOPIC, item_id.encode(), None)

    def flush(self, timeout_s: float = DELIVERY_TIMEOUT_S) -> None:
        """Wait until all that was sent is acknowledged or has failed.

        Raises:
            NotAcknowledgedError: it took longer than `timeout_s`.
        """
        try:
            self._producer.flush(timeout=timeout_s)
        except KafkaError as error:
            raise NotAcknowledgedError(f"not all acknowledged within {timeout_s:g} s: {error}") from error

    def close(self, timeout_s: float = 10.0) -> None:
        """Flush, then close; what is not acknowledged within `timeout_s` fails."""
        self._is_closed.set()
        try:
            self._producer.close(timeout=timeout_s)
        except KafkaError as error:
            abandon(self._producer)
            raise NotAcknowledgedError(f"not all acknowledged within {timeout_s:g} s: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, topic: str, key: bytes | None, value: bytes | None) -> Future[Ack]:
        if not self._places.acquire(timeout=self._block_s):
            raise BufferFullError(
                f"{self._max_pending} records wait for their acknowledgement and none came for {self._block_s:g} s;"
                " slow down, or raise max_pending"
            )
        acknowledged: Future[Ack] = Future()
        # A caller that cancels must not make the acknowledgement of others fail.
        acknowledged.set_running_or_notify_cancel()
        try:
            sent = self._producer.send(topic, value=value, key=key)
        except KafkaError as error:
            self._places.release()
            raise BrokerUnavailableError(f"{topic} cannot be reached: {error}") from error
        self._waiting.append((time.monotonic() + DELIVERY_TIMEOUT_S + _LOOK_S, acknowledged))
        sent.add_callback(self._resolve, acknowledged)
        sent.add_errback(self._fail, acknowledged)
        return acknowledged

    def _resolve(self, acknowledged: Future[Ack], metadata: Any) -> None:
        self._places.release()
        with suppress(InvalidStateError):  # The caller was told that it is late.
            acknowledged.set_result(Ack(metadata.partition, metadata.offset, metadata.timestamp))

    def _fail(self, acknowledged: Future[Ack], error: Exception) -> None:
        self._places.release()
        with suppress(InvalidStateError):
            acknowledged.set_exception(NotAcknowledgedError(f"Kafka did not acknowledge: {error}"))

    def _tell_late_ones(self) -> None:
        """Fail what waits too long: while no broker answers, kafka-python 3.0.12 expires one record and then none.

        Such a record keeps its place until Kafka has it or has refused it.
        """
        while not self._is_closed.wait(_LOOK_S):
            now_s = time.monotonic()
            while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now_s):
                _, acknowledged = self._waiting.popleft()
                with suppress(InvalidStateError):
                    acknowledged.set_exception(
                        NotAcknowledgedError(f"not acknowledged within {DELIVERY_TIMEOUT_S:g} s; it may still arrive")
                    )


def abandon(producer: Any) -> None:
    """End a `KafkaProducer` that could not be closed in time, and fail what it still holds.

    Its own `close` of 3.0.12 raises before it comes to that: its thread went on, and so did the records.
    """
    sender = getattr(producer, "_sender", None)
    if sender is not None:
        sender.force_close()
        sender.join(_LOOK_S)
        producer._closed = True  # noqa: SLF001 (else its destructor tries once more, and raises)
