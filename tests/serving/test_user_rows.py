"""Laws of reading users from Redis."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from redis import Redis

from features.apply import apply_features
from features.config import AppConfig, Endpoints
from features.consumed_items import consumed_key
from features.model_inputs import user_service
from features.store import open_store
from serving import redis_reads
from serving.user_rows import RedisUserRows
from tests.serving.serving_parts import APP

DECLARED = {"user_spent": {"entity": "user", "aggregation": "sum", "half_lives_s": [3600]}}
Server = tuple[subprocess.Popen[bytes], int]


def endpoints_at(port: int, tmp_path: Path) -> Endpoints:
    """Return the addresses of a stack that has Redis alone."""
    return Endpoints(kafka="", redis=f"127.0.0.1:{port}", model_store=str(tmp_path), state=str(tmp_path))


def fill_consumed(port: int, users: int) -> None:
    """Give every user one consumed item of its own."""
    with Redis("127.0.0.1", port) as client:
        for number in range(users):
            client.zadd(consumed_key(APP.name, f"user-{number}"), {f"item-{number}": 1})


async def test_rows_equal_a_stock_read_of_feast(redis_server: Server, tmp_path: Path) -> None:
    """Field by field, declared features, missing fields and missing users included."""
    app = AppConfig.model_validate(APP.model_dump() | {"features": {"declared": DECLARED}})
    endpoints = endpoints_at(redis_server[1], tmp_path)
    store = open_store(endpoints, app)
    apply_features(store, app.features)
    columns: dict[str, Any] = {
        "user_counters": [[1.5, 2.0, 0.0]],
        "user_history_item_ids": [["b", "\u00e4\u00f6"]],
        "user_history_actions": [["click", "view"]],
        "user_history_times_ms": [[1_790_000_000_000, 5]],
        "user_history_outcomes": [[1, -1]],
        "user_category_names": [["x"]],
        "user_category_counts": [[0.25] * 7],
        "user_spent": [[3.5, 0.0]],
        "user_activity_event_time_ms": 7,
    }
    common = {"user_id": ["ann"], "event_timestamp": pd.Timestamp.now(tz="UTC")}
    store.write_to_online_store("user_activity", pd.DataFrame({**common, **columns}))
    rows = RedisUserRows(endpoints, app)
    service = store.get_feature_service(user_service(app.features))
    for user_id in ("ann", "nobody"):
        stock = store.get_online_features(features=service, entity_rows=[{"user_id": user_id}]).to_dict()
        row, _ = await rows.read(user_id)
        assert row == {name: stock[name][0] for name in row}
        assert (row["user_spent"], row["user_shown_item_ids"]) == ([3.5, 0.0] if user_id == "ann" else None, None)
    rows.close()


async def test_many_at_once_get_their_own_answers(redis_server: Server, tmp_path: Path) -> None:
    """One connection, a hundred questions; those whose callers hung up shift nobody's answer."""
    fill_consumed(redis_server[1], 100)
    rows = RedisUserRows(endpoints_at(redis_server[1], tmp_path), APP)
    await rows.read("user-0")
    reads = [asyncio.ensure_future(rows.read(f"user-{number}")) for number in range(100)]
    await asyncio.sleep(0)
    for read in reads[::3]:
        read.cancel()
    for number, read in enumerate(reads):
        if number % 3:
            assert (await read)[1] == {f"item-{number}"}
    rows.close()


async def test_questions_of_one_turn_are_one_write(redis_server: Server, tmp_path: Path) -> None:
    """A busy loop pays for a write once, not once a request."""
    rows = RedisUserRows(endpoints_at(redis_server[1], tmp_path), APP)
    await rows.read("ann")
    with Redis("127.0.0.1", redis_server[1]) as client:
        before = client.info("stats")["total_reads_processed"]
        await asyncio.gather(*(rows.read(f"user-{number}") for number in range(100)))
        assert client.info("stats")["total_reads_processed"] - before < 20
    rows.close()


async def test_killed_redis_fails_reads_and_a_new_one_is_found(redis_server: Server, tmp_path: Path) -> None:
    """Every read in flight fails at once; the next one connects again, or says that nobody listens."""
    server, port = redis_server
    rows = RedisUserRows(endpoints_at(port, tmp_path), APP)
    await rows.read("ann")
    server.send_signal(signal.SIGSTOP)
    reading = asyncio.ensure_future(rows.read("ann"))
    await asyncio.sleep(0)
    server.kill()
    with pytest.raises(ConnectionError):
        await reading
    server.wait()
    assert not rows.is_open
    with pytest.raises(OSError, match=str(port)):
        await rows.read("ann")
    writers: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", port)
    keeping = asyncio.create_task(rows.keep_open(0.01))
    async with asyncio.timeout(10), listening:
        while not (rows.is_open and writers):
            await asyncio.sleep(0.01)
        keeping.cancel()
        rows.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_connection_that_nobody_answers_on_is_given_up(
    redis_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused Redis may come back as another process: old questions do not hold new ones up."""
    monkeypatch.setattr(redis_reads, "_STALLED_S", 0.05)
    server, port = redis_server
    rows = RedisUserRows(endpoints_at(port, tmp_path), APP)
    await rows.read("ann")
    server.send_signal(signal.SIGSTOP)
    stalled = asyncio.ensure_future(rows.read("ann"))
    await asyncio.sleep(0.1)
    later = asyncio.ensure_future(rows.read("ann"))
    with pytest.raises(ConnectionError):
        await stalled
    server.send_signal(signal.SIGCONT)
    assert (await later)[1] == {"item-1", "item-2"}
    rows.close()
