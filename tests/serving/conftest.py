"""Fixtures of the serving tests."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis import Redis, RedisError

from compose.redis_server import redis_binary
from features.consumed_items import consumed_key
from features.warm_up import warm_up
from tests.serving.serving_parts import APP, World


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """Compile before any request, as a server does: gRPC cancels calls that a busy loop left unread for 30 s."""
    warm_up()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A small served world without a model yet."""
    made = World(tmp_path)
    yield made
    await made.models.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A real Redis on a free port, with its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(redis_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with Redis("127.0.0.1", port) as client:
            for _ in range(200):
                try:
                    client.zadd(consumed_key(APP.name, "ann"), {"item-1": 1, "item-2": 2})
                    break
                except RedisError:
                    time.sleep(0.02)  # A real process starts; there is no clock to inject.
        yield server, port
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()
