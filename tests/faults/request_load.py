"""Asks `Recommend` at an even rate and writes down every answer: `python -m tests.faults.request_load --help`.

A process of its own, which asks until its input ends. Latency counts from the moment at which a call is due: a server
that stalls is not asked less.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from pathlib import Path
from typing import Any

import grpc

from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from tests.faults.history import End, HistoryWriter

LIST_LENGTH = 10
DEADLINE_S = 10.0
"""Long: what a loaded machine needs is not judged here, whether there is an answer is."""
_UNKNOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


async def ask(stub: Any, op: str, user_id: str, due_s: float, history: HistoryWriter) -> None:
    """Make one call and note what came back."""
    history.invoke(op)
    how: End = "ok"
    request = pb.RecommendRequest(user_id=user_id, num_items=LIST_LENGTH, surface="probe")
    try:
        reply = await stub.Recommend(request, timeout=DEADLINE_S)
    except grpc.aio.AioRpcError as error:
        how = "info" if error.code() in _UNKNOWN else "fail"
        return history.end(op, how, code=error.code().name, ms=_ms_since(due_s))
    item_ids = [item.item_id for item in reply.items]
    history.end(
        op,
        how,
        version=reply.model_version,
        items=len(item_ids),
        is_sound=len(set(item_ids)) == len(item_ids) <= LIST_LENGTH
        and all(math.isfinite(item.score) for item in reply.items),
        reasons=list(reply.degraded_reasons),
        ms=_ms_since(due_s),
    )


def _ms_since(due_s: float) -> float:
    return round((time.monotonic() - due_s) * 1e3, 1)


async def ask_until_told(address: str, rate: float, users: str, num_users: int, history: HistoryWriter) -> None:
    """Ask for users `users0` … in turn until the input ends; wait for the last answers."""
    has_ended = asyncio.Event()
    waiting = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    waiting.add_done_callback(lambda _: has_ended.set())
    async with grpc.aio.insecure_channel(address) as channel:
        stub = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
        print("READY", flush=True)
        calls: list[asyncio.Task[None]] = []
        started_s = time.monotonic()
        while not has_ended.is_set():
            due_s = started_s + len(calls) / rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            number = len(calls)
            user_id = f"{users}{number % num_users}"
            calls.append(asyncio.create_task(ask(stub, f"r{number}", user_id, due_s, history)))
        await asyncio.gather(*calls)


def main() -> int:
    """Ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serving", required=True)
    parser.add_argument("--rate", type=float, required=True, help="calls a second")
    parser.add_argument("--users", required=True, help="prefix of their ids")
    parser.add_argument("--history", type=Path, required=True)
    options = parser.parse_args()
    history = HistoryWriter(options.history)
    asyncio.run(ask_until_told(options.serving, options.rate, options.users, 500, history))
    history.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
