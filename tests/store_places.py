"""Model stores for tests: a directory, fsspec's memory, and an S3 server, with ways to break what lies in them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compose.ports import HOST, free_ports
from features.model_store_config import ModelStoreConfig
from trainer.object_versions import ObjectVersions
from trainer.version_files import VersionStore, open_versions

NAME = "test"
ACCESS_KEY, SECRET_KEY = "an-access-key", "a-planted-secret"
KINDS = ("local", "memory", "s3")
_START_S = 60.0


@dataclass(frozen=True)
class S3Server:
    """An S3 server with one bucket, and how it is reached."""

    config: ModelStoreConfig
    process: subprocess.Popen[bytes]


@dataclass(frozen=True)
class Place:
    """One model's versions, and the file system below them."""

    store: VersionStore
    filesystem: Any
    root: str

    def paths(self, version: str = "") -> list[str]:
        """Return every file below the store that belongs to a version, to all of them by default."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(path for path in self.filesystem.find(self.root) if f"/{version}" in path)
        return []

    def path(self, version: str, end: str) -> str:
        """Return the one file of a version whose name ends like this."""
        (found,) = [path for path in self.paths(version) if path.endswith(end)]
        return found

    def write(self, path: str, data: bytes) -> None:
        """Put other bytes in the place of a file."""
        self.filesystem.pipe_file(path, data)


def local_place(directory: Path) -> Place:
    """Return a store that is a directory."""
    from fsspec.implementations.local import LocalFileSystem

    return Place(open_versions(str(directory), NAME), LocalFileSystem(auto_mkdir=True), str(directory / NAME))


def memory_place() -> Place:
    """Return a store in fsspec's memory, which is one for the process."""
    from fsspec.implementations.memory import MemoryFileSystem

    folder = uuid.uuid4().hex
    return Place(open_versions(f"memory://{folder}", NAME), MemoryFileSystem(), f"/{folder}/{NAME}")


def s3_place(server: S3Server) -> Place:
    """Return a store below a prefix of its own on an S3 server."""
    prefix = uuid.uuid4().hex
    store = open_versions(f"s3://models/{prefix}", NAME, server.config)
    return Place(store, vars(store)["_filesystem"], f"models/{prefix}/{NAME}")


@contextlib.contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """Run moto's S3 server in a process of its own."""
    pytest.importorskip("s3fs", reason="`make setup` brings the S3 driver")
    pytest.importorskip("moto", reason="`make setup` brings the S3 server")
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ |= {"TEST_STORE_ACCESS_KEY": ACCESS_KEY, "TEST_STORE_SECRET_KEY": SECRET_KEY}
    config = ModelStoreConfig(
        endpoint_url=f"http://{HOST}:{port}",
        region="eu-central-1",
        access_key_env="TEST_STORE_ACCESS_KEY",
        secret_key_env="TEST_STORE_SECRET_KEY",
    )
    try:
        _wait_for(port, process)
        vars(open_versions("s3://models", NAME, config))["_filesystem"].mkdir("models")
        yield S3Server(config, process)
    finally:
        process.kill()
        process.wait()
        for name in ("TEST_STORE_ACCESS_KEY", "TEST_STORE_SECRET_KEY"):
            os.environ.pop(name, None)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
            return
        time.sleep(0.05)  # A real process starts; there is no clock to inject.
    pytest.fail("the S3 server did not start")


class SwitchedFiles:
    """A file system that somebody can take away and bring back.

    Args:
        files: the real one.
    """

    def __init__(self, files: Any) -> None:
        self._files = files
        self.is_down = False
        self.may_answer = threading.Event()
        """Calls hang until it is set."""
        self.may_answer.set()
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._files, name)
        if not callable(real):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            self.may_answer.wait(_START_S)
            if self.is_down:
                raise ConnectionRefusedError("nobody listens")
            return real(*arguments, **named)

        return call


def switched_place() -> tuple[Place, SwitchedFiles]:
    """Return a store in memory that can be taken away, and its switch."""
    place = memory_place()
    files = SwitchedFiles(place.filesystem)
    return Place(ObjectVersions(files, place.root, "s3://models"), place.filesystem, place.root), files
