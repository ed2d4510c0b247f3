"""Asks `Recommend` at a fixed rate, whatever becomes of the answers: `open_loop.py ADDRESS,... RATE SECONDS [options]`.

Every call has the moment at which it is due, and its latency counts from there: a server that stalls is not asked less
(no coordinated omission). One JSON line a call on the output, times on the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import grpc

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from protos import serving_pb2 as pb  # noqa: E402
from protos import serving_pb2_grpc  # noqa: E402

NUM_USERS = 200
LIST_LENGTH = 20
_CHANNELS = 16
"""A server takes 100 calls at once of a connection; of more gRPC holds them back, which would look like its latency."""
_LAST_ANSWERS_S = 5.0


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
    """A list of the length asked for, no item twice, scores finite."""
    is_ranked: bool
    """By a model."""
    reasons: tuple[str, ...]
    is_prefetch: bool = False
    """Asked ahead of need: what a full server refuses first."""


@dataclass(frozen=True)
class Manner:
    """How calls are made."""

    prefetch_every: int = 0
    """Each of so many is one made ahead of need; 0: none."""
    deadline_s: float | None = None
    """After which the client gives up; None: never."""

    def is_prefetch(self, number: int) -> bool:
        """Say whether a call is one made ahead of need."""
        return bool(self.prefetch_every) and number % self.prefetch_every == 0


_PATIENT = Manner()


async def ask(stub: Any, number: int, due_s: float, manner: Manner = _PATIENT) -> Call:
    """Make one call."""
    sent_s, is_prefetch = time.monotonic(), manner.is_prefetch(number)
    request = pb.RecommendRequest(
        user_id=f"user-{number * 7919 % NUM_USERS}",
        num_items=LIST_LENGTH,
        priority=pb.PRIORITY_PREFETCH if is_prefetch else pb.PRIORITY_UNSPECIFIED,
    )
    code, is_valid, is_ranked, reasons = "OK", False, False, ()
    try:
        reply = await stub.Recommend(request, timeout=manner.deadline_s)
    except grpc.aio.AioRpcError as error:
        code = error.code().name
    else:
        ids = {item.item_id for item in reply.items}
        is_valid = len(reply.items) == len(ids) == LIST_LENGTH and all(abs(item.score) < 1e30 for item in reply.items)
        is_ranked, reasons = bool(reply.model_version), tuple(reply.degraded_reasons)
    lag_ms, ms = (sent_s - due_s) * 1e3, (time.monotonic() - due_s) * 1e3
    return Call(due_s, lag_ms, ms, code, is_valid, is_ranked, reasons, is_prefetch)


async def ask_all(addresses: str, rate: float, seconds: float, manner: Manner = _PATIENT) -> list[Call]:
    """Ask all addresses in turn, at an even rate; what has no answer five seconds after the last was due is lost."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    in_turn = islice(cycle(addresses.split(",")), _CHANNELS)
    channels = [grpc.aio.insecure_channel(address, options=options) for address in in_turn]
    stubs: list[Any] = [serving_pb2_grpc.RecommenderStub(channel) for channel in channels]  # type: ignore[no-untyped-call]
    await asyncio.gather(*(ask(stub, 0, time.monotonic()) for stub in stubs))
    started_s, calls = time.monotonic() + 0.05, []
    for number in range(int(rate * seconds)):
        due_s = started_s + number / rate
        if (wait_s := due_s - time.monotonic()) > 0.0:
            await asyncio.sleep(wait_s)
        elif number % 20 == 0:
            await asyncio.sleep(0.0)  # Late: answers must be looked at all the same.
        calls.append(asyncio.create_task(ask(stubs[number % _CHANNELS], number, due_s, manner)))
    done, lost = await asyncio.wait(calls, timeout=_LAST_ANSWERS_S)
    for call in lost:
        call.cancel()
    await asyncio.gather(*(channel.close() for channel in channels), return_exceptions=True)
    lost_ms = _LAST_ANSWERS_S * 1e3
    return [call.result() for call in calls if call in done] + [
        Call(started_s, 0.0, lost_ms, "LOST", is_valid=False, is_ranked=False, reasons=()) for _ in lost
    ]


async def answers_per_s(address: str, clients: int, seconds: float) -> float:
    """Return the valid answers a second that so many clients get who ask again at once (a closed loop)."""
    answered, ends_s = 0, time.monotonic() + seconds

    async def keep_asking(stub: Any, number: int) -> None:
        nonlocal answered
        while time.monotonic() < ends_s:
            answered += (await ask(stub, number + answered, time.monotonic())).is_valid

    async with grpc.aio.insecure_channel(address) as channel:
        stub = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
        await asyncio.gather(*(keep_asking(stub, number) for number in range(clients)))
    return answered / seconds


class OpenLoop:
    """The same in a process of its own.

    Args:
        addresses: whom to ask, with commas between them.
        rate: calls a second.
        seconds: for how long.
        manner: how calls are made.
    """

    def __init__(self, addresses: str, rate: float, seconds: float, manner: Manner = _PATIENT) -> None:
        command = [sys.executable, __file__, addresses, str(rate), str(seconds)]
        command += ["--prefetch-every", str(manner.prefetch_every)]
        if manner.deadline_s is not None:
            command += ["--deadline-s", str(manner.deadline_s)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # It begins.

    def calls(self) -> list[Call]:
        """Wait for its end and return what it saw, by when it was due.

        Raises:
            RuntimeError: it failed.
        """
        lines = self._process.communicate()[0].splitlines()
        if self._process.returncode:
            raise RuntimeError("the load generator failed; its reason stands above")
        calls = [Call(**{**json.loads(line), "reasons": tuple(json.loads(line)["reasons"])}) for line in lines]
        return sorted(calls, key=lambda call: call.due_s)


def main() -> None:
    """Ask, then tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("addresses")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--prefetch-every", type=int, default=0)
    parser.add_argument("--deadline-s", type=float)
    options = parser.parse_args()
    manner = Manner(options.prefetch_every, options.deadline_s)
    print("BEGINS", flush=True)
    for call in asyncio.run(ask_all(options.addresses, options.rate, options.seconds, manner)):
        print(json.dumps(asdict(call)))


if __name__ == "__main__":
    main()
