"""Laws of the user read."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import time
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from redis import Redis

from features.config import Endpoints
from serving.answers import NO_TIME_FOR_USER
from serving.circuit_breaker import CircuitBreaker
from serving.config import ServingConfig
from serving.feature_client import STORE_UNAVAILABLE, UserFeatures
from serving.user_rows import RedisUserRows
from tests.serving.serving_parts import APP, FakeUserRows

NOW_MS = 1_790_000_000_000


class HangingRows(FakeUserRows):
    """A store that never answers."""

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        """Wait for good."""
        await asyncio.Event().wait()
        return {}, frozenset()


def rows_at(port: int, tmp_path: Path) -> RedisUserRows:
    """Return a client of the Redis at `port`."""
    endpoints = Endpoints(kafka="", redis=f"127.0.0.1:{port}", model_store=str(tmp_path), state=str(tmp_path))
    return RedisUserRows(endpoints, APP)


async def test_row_and_consumed_items_become_one_state() -> None:
    """History and consumed items of a known user are there, without a reason."""
    rows = FakeUserRows({"ann": {"user_history_item_ids": ["b", "a"]}}, {"ann": frozenset({"a", "b"})})
    user, reason = await UserFeatures(rows, APP, ServingConfig()).read("ann", NOW_MS)
    assert (user.history_item_ids, user.consumed, user.is_known, reason) == (("b", "a"), {"a", "b"}, True, None)


async def test_hanging_store_costs_its_budget_and_no_more() -> None:
    """The user is cold, the reason named, and the time bounded."""
    users = UserFeatures(HangingRows(), APP, ServingConfig())
    async with asyncio.timeout(0.2):
        user, reason = await users.read("ann", NOW_MS)
    assert (user.is_known, reason) == (False, STORE_UNAVAILABLE)


async def test_hurry_of_one_caller_is_no_failure_of_the_store() -> None:
    """A deadline below the configured budget costs its own request the user, and nobody else's."""
    users = UserFeatures(HangingRows(), APP, ServingConfig(breaker_after_ms=0))
    user, reason = await users.read("ann", NOW_MS, 0.001)
    assert (user.is_known, reason, users.is_available) == (False, NO_TIME_FOR_USER, True)
    assert ((await users.read("ann", NOW_MS, 60.0))[1], users.is_available) == (STORE_UNAVAILABLE, False)


async def test_hanging_store_is_found_out_by_callers_in_a_hurry() -> None:
    """Nobody waits for the whole budget, and yet the breaker opens: their reads go on without them."""
    users = UserFeatures(HangingRows(), APP, ServingConfig(breaker_after_ms=0))
    assert (await users.read("ann", NOW_MS, 0.001))[1] == NO_TIME_FOR_USER
    async with asyncio.timeout(10.0):
        while users.is_available:
            await asyncio.sleep(0.005)
    assert (await users.read("ann", NOW_MS, 0.001))[1] == STORE_UNAVAILABLE


async def test_slow_answer_that_nobody_waited_for_counts_for_the_store() -> None:
    """Answers within the store's own time keep the breaker closed, however early their callers leave."""

    class SlowRows(FakeUserRows):
        async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
            await asyncio.sleep(0.02)
            return await super().read(user_id)

    rows = SlowRows()
    users = UserFeatures(rows, APP, ServingConfig(breaker_after_ms=0, feature_read_ms=5000))
    for _ in range(20):
        await users.read("ann", NOW_MS, 0.001)
    async with asyncio.timeout(10.0):
        while rows.reads < 20:
            await asyncio.sleep(0.005)
    assert users.is_available


async def test_caller_that_hangs_up_leaves_nothing_behind() -> None:
    """A cancelled request cancels its read, and a failure of that read bothers nobody."""
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    rows = FakeUserRows(error=ConnectionError("refused"))
    asking = asyncio.create_task(UserFeatures(rows, APP, ServingConfig()).read("ann", NOW_MS))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    gc.collect()
    assert problems == []


async def test_dead_store_is_left_alone() -> None:
    """Behind the open breaker no request pays for the store."""
    rows = FakeUserRows(error=ConnectionError("refused"))
    users = UserFeatures(rows, APP, ServingConfig(breaker_after_ms=0, breaker_pause_ms=60_000))
    reasons = [(await users.read("ann", NOW_MS))[1] for _ in range(10)]
    assert (reasons, rows.reads, users.is_available) == ([STORE_UNAVAILABLE] * 10, 1, False)


def test_breaker_opens_only_when_failures_last() -> None:
    """Many failures at one moment are one stall; failing on for a while is an outage; a success starts over."""
    now_s = 0.0
    breaker = CircuitBreaker(0.1, 0.25, lambda: now_s)
    for _ in range(10):
        breaker.count_failure()
    assert not breaker.is_open
    breaker.count_success()
    now_s = 0.2
    breaker.count_failure()
    assert not breaker.is_open
    now_s = 0.35
    breaker.count_failure()
    assert breaker.is_open


def test_open_breaker_lets_one_probe_through_per_pause() -> None:
    """One call per pause, and a success closes it."""
    now_s = 0.0
    breaker = CircuitBreaker(0.0, 0.25, lambda: now_s)
    breaker.count_failure()
    now_s = 0.2
    assert not breaker.may_call()
    now_s = 0.3
    assert [breaker.may_call(), breaker.may_call()] == [True, False]
    breaker.count_success()
    assert breaker.may_call()


async def test_access_that_is_withdrawn_is_flagged_and_comes_back(
    redis_server: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    """A right taken from a live connection, then a password that nobody knows: degraded, told, and whole again."""
    port = redis_server[1]
    rows = rows_at(port, tmp_path)
    users = UserFeatures(rows, APP, ServingConfig())

    async def wait_whole() -> None:
        async with asyncio.timeout(10):
            while (await users.read("ann", NOW_MS))[1] is not None:
                await asyncio.sleep(0.05)

    await wait_whole()
    with Redis("127.0.0.1", port) as ops:
        for withdrawn, given_back in (
            (("ACL", "SETUSER", "default", "-hmget", "-hgetall", "-zrange"), ("ACL", "SETUSER", "default", "+@all")),
            (("CONFIG", "SET", "requirepass", "unknown"), ("CONFIG", "SET", "requirepass", "")),
        ):
            ops.execute_command(*withdrawn)
            if withdrawn[0] == "CONFIG":  # Live connections stay let in; others are asked.
                rows.close()
                rows = rows_at(port, tmp_path)
                users = UserFeatures(rows, APP, ServingConfig())
            reasons = {(await users.read("ann", NOW_MS))[1] for _ in range(20)}
            assert reasons == {STORE_UNAVAILABLE}
            ops.execute_command(*given_back)
            await wait_whole()
    rows.close()


async def test_paused_redis_is_flagged_and_heals(
    redis_server: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    """A stopped Redis costs at most the budget per read; once it runs again, reads are whole within 2 s."""
    server, port = redis_server
    rows = rows_at(port, tmp_path)
    users = UserFeatures(rows, APP, ServingConfig())
    # The first connection of a busy machine may miss the budget; the law is about what follows.
    async with asyncio.timeout(5):
        while (await users.read("ann", NOW_MS))[1] is not None:
            await asyncio.sleep(0.05)
    server.send_signal(signal.SIGSTOP)
    started_s = time.perf_counter()
    reasons = [(await users.read("ann", NOW_MS))[1] for _ in range(20)]
    assert set(reasons) == {STORE_UNAVAILABLE}
    assert time.perf_counter() - started_s < 1.0
    server.send_signal(signal.SIGCONT)
    async with asyncio.timeout(2):
        while (found := await users.read("ann", NOW_MS))[1] is not None:
            await asyncio.sleep(0.05)
    assert found[0].consumed == {"item-1", "item-2"}
    rows.close()
