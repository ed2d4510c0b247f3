"""A Redis of the tests' own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, RedisError

from compose.errors import NotInstalledError
from compose.redis_server import redis_binary
from features.config import AppConfig, load_app_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def app() -> AppConfig:
    """The shipped configuration."""
    return load_app_config(ROOT / "headrace.yaml")


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `redis-server` on a free port, `host:port`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    try:
        binary = str(redis_binary())
    except NotInstalledError as error:
        pytest.skip(str(error))
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_redis(port)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def redis_client(redis_address: str) -> Iterator[Any]:
    """A client of the real Redis, emptied before the test."""
    host, port = redis_address.split(":")
    with Redis(host, int(port), socket_timeout=5) as client:
        client.flushall()
        yield client


def _wait_for_redis(port: int) -> None:
    with Redis("127.0.0.1", port) as client:
        for _ in range(200):
            try:
                client.ping()
            except RedisError:
                time.sleep(0.02)  # A real process starts; there is no clock to inject.
            else:
                return
    raise AssertionError("redis-server did not answer within 4 s")
