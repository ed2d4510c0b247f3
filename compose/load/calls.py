"""One call each for every moment that is due; its latency counts from there (no coordinated omission)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import grpc

from headrace_client import Tls
from headrace_client.tls import open_channel
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc

_CHANNELS = 16
"""A server takes 100 calls at once of a connection; of more gRPC holds them back, which would look like its latency."""
_LAST_ANSWERS_S = 5.0
_LOOK_EVERY = 20


@dataclass(frozen=True)
class Call:
    """One call and what became of it."""

    due_s: float
    lag_ms: float
    """How late it was sent: the client's own fault."""
    ms: float
    """From due to answered."""
    code: str
    is_valid: bool
    """As many items as asked for, no item twice, scores finite."""
    is_ranked: bool
    """By a model."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Questions:
    """Whom to ask, and what."""

    addresses: Sequence[str]
    """Asked in turn."""
    users: Sequence[str]
    num_items: int = 20
    surface: str = ""
    deadline_s: float | None = None
    """None: a call may take until five seconds after the last was due; then it is lost."""
    metadata: tuple[tuple[str, str], ...] = ()
    tls: Tls | None = None

    def request(self, number: int) -> pb.RecommendRequest:
        """Return the call of this number; neighbours ask for different users."""
        user_id = self.users[number * 7919 % len(self.users)]
        return pb.RecommendRequest(user_id=user_id, num_items=self.num_items, surface=self.surface)


async def ask(stub: Any, questions: Questions, number: int, due_s: float) -> Call:
    """Make one call."""
    sent_s = time.monotonic()
    code, is_valid, is_ranked, reasons = "OK", False, False, ()
    try:
        reply = await stub.Recommend(
            questions.request(number), timeout=questions.deadline_s, metadata=questions.metadata or None
        )
    except grpc.aio.AioRpcError as error:
        code = error.code().name
    else:
        ids = {item.item_id for item in reply.items}
        is_whole = len(reply.items) == len(ids) == questions.num_items
        is_valid = is_whole and all(abs(item.score) < 1e30 for item in reply.items)
        is_ranked, reasons = bool(reply.model_version), tuple(reply.degraded_reasons)
    return Call(due_s, (sent_s - due_s) * 1e3, (time.monotonic() - due_s) * 1e3, code, is_valid, is_ranked, reasons)


async def ask_all(
    questions: Questions,
    moments: Iterable[float],
    on_call: Callable[[Call], object],
    start: Callable[[], float] = lambda: time.monotonic() + 0.05,
) -> None:
    """Make a call at each of `moments` after the start, and tell of each when it has ended.

    Args:
        questions: what is asked.
        moments: seconds after the start, ascending.
        on_call: told of every call, in the order in which they end.
        start: called once all connections are warm; returns the start on the monotonic clock.
    """
    options = [("grpc.use_local_subchannel_pool", 1)]
    in_turn = islice(cycle(questions.addresses), _CHANNELS)
    channels = [open_channel(grpc.aio, address, questions.tls, options) for address in in_turn]
    stubs: list[Any] = [serving_pb2_grpc.RecommenderStub(channel) for channel in channels]  # type: ignore[no-untyped-call]
    await asyncio.gather(*(ask(stub, questions, 0, time.monotonic()) for stub in stubs))
    started_s = start()
    pending: set[asyncio.Task[Call]] = set()
    for number, moment in enumerate(moments):
        due_s = started_s + moment
        if (wait_s := due_s - time.monotonic()) > 0.0:
            await asyncio.sleep(wait_s)
        elif number % _LOOK_EVERY == 0:
            await asyncio.sleep(0.0)  # Late: answers must be looked at all the same.
        call = asyncio.create_task(ask(stubs[number % _CHANNELS], questions, number, due_s))
        pending.add(call)
        call.add_done_callback(pending.discard)
        call.add_done_callback(lambda done: None if done.cancelled() else on_call(done.result()))
    lost = (await asyncio.wait(pending, timeout=(questions.deadline_s or 0.0) + _LAST_ANSWERS_S))[1] if pending else ()
    for call in lost:
        call.cancel()
        on_call(Call(started_s, 0.0, _LAST_ANSWERS_S * 1e3, "LOST", is_valid=False, is_ranked=False, reasons=()))
    await asyncio.gather(*(channel.close() for channel in channels), return_exceptions=True)


async def answers_per_s(questions: Questions, clients: int, seconds: float) -> float:
    """Return the valid answers a second that so many clients get who ask again at once (a closed loop)."""
    answered, ends_s = 0, time.monotonic() + seconds

    async def keep_asking(stub: Any, number: int) -> None:
        nonlocal answered
        while time.monotonic() < ends_s:
            answered += (await ask(stub, questions, number + answered, time.monotonic())).is_valid

    async with open_channel(grpc.aio, questions.addresses[0], questions.tls, []) as channel:
        stub = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
        await asyncio.gather(*(keep_asking(stub, number) for number in range(clients)))
    return answered / seconds
