"""Laws of the parent of workers: one owner of the port, restarts with an end, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from features.config import Endpoints
from features.errors import StartupError
from serving.config import ServingConfig
from serving.errors import WorkersLostError
from serving.server_settings import ServerSettings
from serving.workers.parent import Parent
from serving.workers.worker import WorkerDesk
from serving.workers.worker_process import RestartPolicy, WorkerState
from tests.serving.serving_parts import APP

PROGRAM = Path(__file__).with_name("idle_worker.py")
QUICK = RestartPolicy(first_pause_s=0.01, longest_pause_s=0.02, deaths=3)


def behaving(*behaviours: str) -> Callable[[Path, str], Sequence[str]]:
    """Return the command of idle workers, one behaviour a worker."""
    return lambda path, address: (sys.executable, str(PROGRAM), str(path), address, behaviours[int(path.stem)])


def parent_of(directory: Path, *behaviours: str, address: str = "127.0.0.1:0") -> Parent:
    """Return a parent of idle workers, Kafka and Redis dead."""
    dead = "127.0.0.1:1"
    endpoints = Endpoints(kafka=dead, redis=dead, model_store=str(directory / "models"), state=str(directory))
    settings = ServerSettings(APP, ServingConfig(drain_s=1.0), endpoints, address)
    return Parent(settings, len(behaviours), behaving(*behaviours), QUICK)


@asynccontextmanager
async def started(parent: Parent) -> AsyncIterator[Parent]:
    """Start a parent; stop it in the end."""
    try:
        await parent.start()
        yield parent
    finally:
        await parent.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers import our packages."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)


async def test_port_of_a_parent_is_no_one_elses(tmp_path: Path) -> None:
    """The kernel would share it with any server that asks; a second parent is refused, before and after it listens."""
    parent = parent_of(tmp_path, "serve")
    try:
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.bind(("127.0.0.1", int(parent.address.rpartition(":")[2])))
            listening.listen()  # As a worker does.
            with pytest.raises(StartupError, match="the port is taken or not ours"):
                parent_of(tmp_path, "serve", address=parent.address)
    finally:
        await parent.stop()


async def test_stopped_parent_leaves_nothing(tmp_path: Path) -> None:
    """Every worker ends, is reaped, and the directory of the sockets goes."""
    async with started(parent_of(tmp_path, "serve", "serve")) as parent:
        pids = [worker.pid for worker in parent.workers]
        sockets = parent._sockets
        assert all(worker.is_serving for worker in parent.workers)
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert not sockets.exists()
    assert [worker.state for worker in parent.workers] == [WorkerState.STOPPED] * 2


async def test_no_worker_takes_requests_before_all_can(tmp_path: Path) -> None:
    """The port is there when all are ready, so that who sees it sees the whole server."""
    parent = parent_of(tmp_path, "serve", "wait")
    starting = asyncio.create_task(parent.start())
    try:
        await until(lambda: 0 in parent._loaded)
        await asyncio.sleep(0.1)
        assert [worker.state for worker in parent.workers] == [WorkerState.STARTING] * 2
        (parent._sockets / "1.go").touch()
        await starting
        assert all(worker.is_serving for worker in parent.workers)
    finally:
        await parent.stop()


async def test_killed_worker_is_started_again(tmp_path: Path) -> None:
    """The other one is not touched."""
    async with started(parent_of(tmp_path, "serve", "serve")) as parent:
        killed, other = parent.workers
        pids = killed.pid, other.pid
        os.kill(killed.pid, 9)
        await until(lambda: killed.is_serving and killed.pid != pids[0])
        assert (killed.restarts, other.restarts, other.pid) == (1, 0, pids[1])


@pytest.mark.parametrize("is_orphan", [False, True])
async def test_only_orphans_remove_the_directory_of_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_orphan: bool
) -> None:
    """While the parent lives, the next process of this worker needs it."""
    sockets = tmp_path / "s"
    sockets.mkdir()
    server: Any = SimpleNamespace(orders=None)
    desk = WorkerDesk(server, "headrace", sockets / "0.sock")
    await desk.start()
    if is_orphan:
        monkeypatch.setattr(os, "getppid", lambda: 1)
    await desk.stop()
    assert sockets.exists() is not is_orphan


@pytest.mark.parametrize("behaviour", ["die", "fail"])
async def test_worker_that_ends_again_and_again_is_given_up(tmp_path: Path, behaviour: str) -> None:
    """The others serve on, and the start does not wait for it for good."""
    async with started(parent_of(tmp_path, "serve", behaviour)) as parent:
        good, bad = parent.workers
        await until(lambda: bad.state is WorkerState.GIVEN_UP)
        assert good.is_serving
        assert (bad.restarts, bad.pid) == (QUICK.deaths - 1, 0)


async def test_parent_without_workers_ends(tmp_path: Path) -> None:
    """Who restarts servers must hear of it."""
    parent = parent_of(tmp_path, "fail", "fail")
    with pytest.raises(WorkersLostError, match="all 2 workers were given up"):
        async with started(parent):
            pass


async def test_worker_that_cannot_start_as_told_ends_the_start(tmp_path: Path) -> None:
    """Its mistake is everyone's, and trying again would not help."""
    with pytest.raises(StartupError, match="worker 1 cannot start"):
        async with started(parent_of(tmp_path, "serve", "refuse")):
            pass


async def test_silent_workers_are_told_as_such(tmp_path: Path) -> None:
    """A worker whose status cannot be read makes no full quality, and the status file names it still."""
    async with started(parent_of(tmp_path, "serve")) as parent:
        status = await parent._status()
    assert not status.is_full_quality
    assert [(entry.number, entry.state, entry.model_version) for entry in status.workers] == [(0, "serving", "")]
