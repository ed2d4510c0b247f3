"""The demo's only way to the stack: the public client, with retries that are counted and clocks that are read."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from compose.demo.errors import DemoError
from compose.demo.options import LIST_SIZE
from compose.serving_access import ServingAccess, client_tls
from headrace_client import Ack as KafkaAck
from headrace_client import (
    AsyncRecommender,
    DeadlineError,
    Event,
    EventProducer,
    HeadraceClientError,
    InvalidRecordError,
    Item,
    OverloadedError,
    RecommendError,
    UnavailableError,
)

ATTEMPT_S = 5.0
"""Deadline of one attempt; shorter ones would add requests to a machine that is already too slow."""
GIVE_UP_S = 180.0
"""A killed server was back after 80 s on a machine under ten times its load; past this a request has failed."""
SEND_ATTEMPTS = 3
"""Sendings of an event whose delivery (itself retried for two minutes by the producer) failed."""
LINGER_MS = 2
"""Records of one moment travel together: a request per event would cost the machine that is measured."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class RequestFailedError(DemoError):
    """Expected: a request or a sending failed for good, after all retries."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One list as the server gave it."""

    item_ids: tuple[str, ...]
    request_id: str
    model_version: str
    degraded_reasons: tuple[str, ...]
    request_token: str = ""


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

    async def send_event(self, event: Event) -> Ack:
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
        access: connection and token.
    """

    def __init__(self, address: str, access: ServingAccess) -> None:
        self.stats = RequestStats()
        self._client = AsyncRecommender(address, ATTEMPT_S, access.token, client_tls(access.tls))

    async def recommend(self, user_id: str, surface: str) -> Answer:
        """Return a list of ten, trying again while the server is away.

        Raises:
            RequestFailedError: no answer within 180 s, or a refusal that another try cannot change.
        """
        give_up_s = time.perf_counter() + GIVE_UP_S
        pause_s = _FIRST_PAUSE_S
        while True:
            started_s = time.perf_counter()
            try:
                reply = await self._client.recommend(user_id, LIST_SIZE, surface)
            except (UnavailableError, DeadlineError, OverloadedError) as error:
                if time.perf_counter() > give_up_s:
                    self.stats.num_failed += 1
                    raise RequestFailedError(f"no answer within {GIVE_UP_S:g} s: {error}") from error
                self.stats.num_retried += 1
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            except RecommendError as error:
                self.stats.num_failed += 1
                raise RequestFailedError(f"the server refused: {error}") from error
            self.stats.latencies_ms.append(1000.0 * (time.perf_counter() - started_s))
            self.stats.degraded.update(reply.degraded_reasons)
            return Answer(
                item_ids=tuple(item.item_id for item in reply.items),
                request_id=reply.request_id,
                request_token=reply.request_token,
                model_version=reply.model_version,
                degraded_reasons=tuple(reply.degraded_reasons),
            )

    async def close(self) -> None:
        """Close the channel."""
        await self._client.close()


class EventSender:
    """Sends events and items; the client retries by itself while Kafka is away.

    Args:
        bootstrap: Kafka address.

    Raises:
        RequestFailedError: Kafka does not answer.
    """

    def __init__(self, bootstrap: str) -> None:
        try:
            self._producer = EventProducer(bootstrap, linger_ms=LINGER_MS)
        except HeadraceClientError as error:
            raise RequestFailedError(str(error)) from error

    async def send_event(self, event: Event) -> Ack:
        """Return once Kafka has the event; a failed delivery is sent again under the same `event_id`.

        Raises:
            RequestFailedError: Kafka did not take it.
        """
        for attempt in range(1, SEND_ATTEMPTS + 1):
            try:
                return await _acknowledged(self._producer.send(event))
            except InvalidRecordError as error:
                raise RequestFailedError(f"event {event.event_id} cannot be sent: {error}") from error
            except HeadraceClientError as error:
                if attempt == SEND_ATTEMPTS:
                    raise RequestFailedError(f"Kafka did not take event {event.event_id}: {error}") from error
        raise AssertionError("the last attempt returns or raises")

    async def send_item(self, item: Item) -> Ack:
        """Return once Kafka has the item.

        Raises:
            RequestFailedError: Kafka did not take it.
        """
        try:
            return await _acknowledged(self._producer.announce(item))
        except HeadraceClientError as error:
            raise RequestFailedError(f"Kafka did not take item {item.item_id}: {error}") from error

    async def close(self) -> None:
        """Close the producer; what is not acknowledged by now is given up."""
        with contextlib.suppress(HeadraceClientError):
            await asyncio.to_thread(self._producer.close, 2.0)


async def _acknowledged(sent: Future[KafkaAck]) -> Ack:
    """Await a sending; the clock is read in the producer's thread, not when the event loop gets to it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Ack] = loop.create_future()

    def settle(future: Future[KafkaAck]) -> None:
        acked_s, error = time.perf_counter(), future.exception()
        with contextlib.suppress(RuntimeError):  # The loop is closed: the demo was interrupted.
            loop.call_soon_threadsafe(_settle, done, error, Ack(acked_s))

    sent.add_done_callback(settle)
    return await done


def _settle(done: asyncio.Future[Ack], error: BaseException | None, ack: Ack) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(ack)
