"""The demo's only way to the stack: ask for lists, send events and items, with retries that are counted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from compose.demo.errors import DemoError
from compose.demo.options import LIST_SIZE
from compose.demo.topic_reader import EVENTS_TOPIC
from protos import serving_pb2, serving_pb2_grpc

ITEMS_TOPIC = "headrace.items.v1"
ATTEMPT_S = 2.0
"""Deadline of one attempt."""
GIVE_UP_S = 60.0
"""A killed server is back within seconds, even on a busy laptop; past this the request counts as failed."""
SEND_ATTEMPTS = 3
"""Sendings of an event whose delivery (itself retried for 120 s by the producer) failed."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5
_RETRIED = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
_CHANNEL_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


class RequestFailedError(DemoError):
    """Expected: a request or a sending failed for good, after all retries."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One list as the server gave it."""

    item_ids: tuple[str, ...]
    request_id: str
    model_version: str
    degraded_reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """Kafka has the event for good."""

    acked_s: float
    """`time.perf_counter()` in the moment of the acknowledgement."""


class Recommends(Protocol):
    """Answers requests for lists."""

    async def recommend(self, user_id: str, surface: str) -> Answer:
        """Return a list of ten."""


class SendsEvents(Protocol):
    """Sends events."""

    async def send_event(self, event: Mapping[str, Any]) -> Ack:
        """Return once Kafka has the event."""


@dataclass
class RequestStats:
    """What happened to the requests of one client."""

    latencies_ms: list[float] = field(default_factory=list)
    """Of attempts that were answered."""
    num_retried: int = 0
    num_failed: int = 0
    degraded: Counter[str] = field(default_factory=Counter)
    """Answers by reason."""


class RecommendClient:
    """Asks one server.

    Args:
        address: `host:port` of the Recommender.
    """

    def __init__(self, address: str) -> None:
        self.stats = RequestStats()
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub: Any = serving_pb2_grpc.RecommenderStub(self._channel)  # type: ignore[no-untyped-call]

    async def recommend(self, user_id: str, surface: str) -> Answer:
        """Return a list of ten, trying again while the server is away.

        Raises:
            RequestFailedError: no answer within 60 s, or a refusal that another try cannot change.
        """
        request = serving_pb2.RecommendRequest(user_id=user_id, num_items=LIST_SIZE, surface=surface)
        give_up_s = time.perf_counter() + GIVE_UP_S
        pause_s = _FIRST_PAUSE_S
        while True:
            started_s = time.perf_counter()
            try:
                reply = await self._stub.Recommend(request, timeout=ATTEMPT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _RETRIED or time.perf_counter() > give_up_s:
                    self.stats.num_failed += 1
                    raise RequestFailedError(f"Recommend failed: {error.code().name} {error.details()}") from error
                self.stats.num_retried += 1
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            self.stats.latencies_ms.append(1000.0 * (time.perf_counter() - started_s))
            self.stats.degraded.update(reply.degraded_reasons)
            return Answer(
                item_ids=tuple(item.item_id for item in reply.items),
                request_id=reply.request_id,
                model_version=reply.model_version,
                degraded_reasons=tuple(reply.degraded_reasons),
            )

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class EventSender:
    """Sends events and items with `acks=all`; the producer retries by itself while Kafka is away.

    Args:
        bootstrap: Kafka address.
    """

    def __init__(self, bootstrap: str) -> None:
        self.num_failed = 0
        self._producer: Any = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=2, delivery_timeout_ms=120_000, max_block_ms=5_000
        )
        self._encode = msgspec.json.Encoder().encode

    async def send_event(self, event: Mapping[str, Any]) -> Ack:
        """Return once Kafka has the event; the same `event_id` may be sent again.

        Raises:
            RequestFailedError: Kafka did not take it.
        """
        return await self._send(EVENTS_TOPIC, str(event["user_id"]), self._encode(event))

    async def send_item(self, item: Mapping[str, Any]) -> Ack:
        """Return once Kafka has the item.

        Raises:
            RequestFailedError: Kafka did not take it.
        """
        return await self._send(ITEMS_TOPIC, str(item["item_id"]), self._encode(item))

    async def close(self) -> None:
        """Close the producer; what is not acknowledged by now is given up."""
        await asyncio.to_thread(self._producer.close, timeout=2.0)

    async def _send(self, topic: str, key: str, value: bytes) -> Ack:
        failure: Exception | None = None
        for _ in range(SEND_ATTEMPTS):
            try:
                return await self._send_once(topic, key.encode(), value)
            except KafkaError as error:
                failure = error
        self.num_failed += 1
        raise RequestFailedError(f"Kafka did not take a record for {topic}: {failure!r}") from failure

    async def _send_once(self, topic: str, key: bytes, value: bytes) -> Ack:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Ack] = loop.create_future()
        future = self._producer.send(topic, key=key, value=value)
        # Called in the producer's thread: the clock is read there, not when the event loop gets to it.
        future.add_callback(lambda _: _call_soon(loop, done.set_result, done, Ack(time.perf_counter())))
        future.add_errback(lambda error: _call_soon(loop, done.set_exception, done, error))
        return await done


def _call_soon(loop: asyncio.AbstractEventLoop, set_it: Any, done: asyncio.Future[Ack], value: Any) -> None:
    """Settle `done` from another thread, unless its waiter or its loop is gone."""
    with contextlib.suppress(RuntimeError):  # The loop is closed: the demo was interrupted.
        loop.call_soon_threadsafe(lambda: None if done.done() else set_it(value))
