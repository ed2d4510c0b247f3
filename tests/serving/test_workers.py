"""A real server of two workers: `python -m serving --workers 2`, Kafka and Redis dead, versions on disk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from compose.ports import free_ports
from features.config import Endpoints
from features.security.role import Role
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.security.operator_tokens import read_operator_token
from tests.serving.serving_parts import APP, make_version
from trainer.version_files import write_version

ROOT = Path(__file__).parents[2]
WAIT_S = 300.0
"""Longest wait for what takes seconds on a quiet machine."""
CONFIG = """
name: headrace
actions: {click: {outcome: positive}}
surfaces: {default: {}, probe: {learn: false}}
serving: {catch_up_s: 0.1, deadline_ms: 60000}
metrics: {serving_port: %d}
"""


@dataclass
class Running:
    """The server."""

    process: subprocess.Popen[str]
    state: Path
    metrics_port: int

    def status(self) -> dict[str, Any]:
        """Return what the status file says; empty before the first."""
        path = self.state / "serving.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def pids(self) -> list[int]:
        """Return the workers' processes, 0 for one that is not there."""
        return [worker["pid"] for worker in self.status()["workers"]]

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the admin's token."""
        return (("authorization", f"Bearer {read_operator_token(self.state, Role.ADMIN)}"),)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of two workers that serve 1.3."""
    state = tmp_path_factory.mktemp("workers")
    for minute, name in enumerate(("1.1", "1.2", "1.3")):
        write_version(state / "models" / APP.name, make_version(name, created_time_ms=600_000 * (1 + minute)))
    dead, metrics_port = "127.0.0.1:1", free_ports(1)[0]
    endpoints = Endpoints(kafka=dead, redis=dead, model_store=str(state / "models"), state=str(state))
    (state / "endpoints.json").write_text(endpoints.model_dump_json())
    (state / "headrace.yaml").write_text(CONFIG % metrics_port)
    command = [sys.executable, "-m", "serving", "--workers", "2", "--config", str(state / "headrace.yaml")]
    command += ["--endpoints", str(state / "endpoints.json")]
    command += ["--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (state / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    running = Running(process, state, metrics_port)
    try:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        wait_until(lambda: _is_ready(running))
        wait_until(lambda: running.status().get("model_version") == "1.3")
        yield running
    finally:
        process.terminate()
        process.wait(WAIT_S)
        assert process.stdout is not None
        process.stdout.close()


def _is_ready(running: Running) -> bool:
    """Whether the server said so."""
    assert running.process.poll() is None, (running.state / "log").read_text()
    assert running.process.stdout is not None
    return "READY server" in (running.process.stdout.readline() or "")


def connection(address: str, number: int) -> Any:
    """Return a channel that shares its connection with no other."""
    options = [("grpc.use_local_subchannel_pool", 1), ("test.number", number)]
    return grpc.aio.insecure_channel(address, options=options)


async def recommend(channel: Any, **options: Any) -> Any:
    """Ask over a channel."""
    stub: Any = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
    return await stub.Recommend(pb.RecommendRequest(user_id="ann"), timeout=60, **options)


async def ask(address: str, number: int) -> Any:
    """Ask over a fresh connection; one that a dying worker had not accepted yet is made again."""
    async with connection(address, number) as channel:
        return await recommend(channel, wait_for_ready=True)


def requests_by_worker(server: Running) -> dict[str, float]:
    """Return how many requests each worker answered, from one scrape."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    lines = [line for line in text.splitlines() if line.startswith("headrace_serving_requests_total{")]
    return {line.split('worker="')[1].split('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_ready_server_has_every_worker(server: Running) -> None:
    """Each a process of its own beside the parent's."""
    wait_until(lambda: [worker["state"] for worker in server.status()["workers"]] == ["serving", "serving"])
    assert len({*server.pids(), server.process.pid}) == 3


async def test_workers_share_the_port_and_one_scrape_tells_of_all(server: Running) -> None:
    """The kernel spreads connections, so enough of them reach both; nothing is counted twice."""
    before = sum(requests_by_worker(server).values())
    replies = await asyncio.gather(*(ask(server.status()["address"], number) for number in range(24)))
    assert {reply.model_version for reply in replies} == {"1.3"}
    counts = requests_by_worker(server)
    assert all(counts[worker] for worker in ("0", "1"))
    assert sum(counts.values()) - before == 24


async def test_order_is_done_when_every_worker_serves_it(server: Running) -> None:
    """From the answer on, no connection gets another version; a worker killed with -9 comes back with it."""
    async with grpc.aio.insecure_channel(server.status()["admin_address"]) as channel:
        stub: Any = serving_pb2_grpc.ModelAdminStub(channel)  # type: ignore[no-untyped-call]
        order = pb.RollbackModelRequest(idempotency_key="k")
        reply = await stub.RollbackModel(order, metadata=server.metadata())
        again = await stub.RollbackModel(order, metadata=server.metadata())
        assert (reply.status.version, again.status.version) == ("1.2", "1.2")
        replies = await asyncio.gather(*(ask(server.status()["address"], number) for number in range(24)))
        assert {reply.model_version for reply in replies} == {"1.2"}
        status = await stub.GetModelStatus(pb.GetModelStatusRequest(), metadata=server.metadata())
        assert [worker.live_version for worker in status.workers] == ["1.2", "1.2"]
        killed, other = server.pids()
        async with await connection_to(server, "1") as spared:
            os.kill(killed, signal.SIGKILL)
            assert {reply.model_version for reply in await keep_asking(server, killed, spared)} == {"1.2"}
        status = await stub.GetModelStatus(pb.GetModelStatusRequest(), metadata=server.metadata())
        assert [worker.live_version for worker in status.workers] == ["1.2", "1.2"]
        assert (status.workers[0].restarts, status.workers[1].pid, status.is_following) == (1, other, False)


async def connection_to(server: Running, worker: str) -> Any:
    """Return a connection to one of the workers."""
    for number in range(100):
        channel = connection(server.status()["address"], number)
        before = requests_by_worker(server)[worker]
        await recommend(channel)
        if requests_by_worker(server)[worker] > before:
            return channel
        await channel.close()
    raise AssertionError(f"no connection came to worker {worker}")


async def keep_asking(server: Running, killed: int, spared: Any) -> list[Any]:
    """Ask over new connections and one to the other worker until the killed one serves again; all must be answered."""
    replies: list[Any] = []
    async with asyncio.timeout(WAIT_S):
        while (first := server.status()["workers"][0])["pid"] in (0, killed) or first["state"] != "serving":
            replies += [await ask(server.status()["address"], len(replies)), await recommend(spared)]
    return replies


async def test_health_of_the_parent_is_that_of_all(server: Running) -> None:
    """Something is answered; with Redis dead not at full quality."""
    async with grpc.aio.insecure_channel(server.status()["admin_address"]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        states = [
            (await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in ("", "headrace.full")
        ]
    assert states == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


def test_workers_end_with_a_killed_parent(server: Running) -> None:
    """However the parent dies; the last test, as nothing is left of the server."""
    pids = server.pids()
    server.process.kill()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
