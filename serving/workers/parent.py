"""The parent of several server processes: owns them by process id, takes orders for all, tells of all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from prometheus_client import CollectorRegistry

from features.security.listening import check_public
from features.security.metrics_port import MetricsPort, open_metrics_port
from features.security.role import Role
from features.security.token_file import Tokens
from protos import serving_pb2_grpc
from serving.admin import AdminServicer
from serving.checked_requests import CheckedServer
from serving.edge import Edge
from serving.errors import WorkersLostError
from serving.health import Health
from serving.kafka_writer import KafkaWriter, connect_producer
from serving.security.operator_tokens import make_operator_tokens, operator_files
from serving.server_settings import ServerSettings
from serving.status_file import ServingStatus, WorkerEntry, write_status
from serving.workers.merged_metrics import MergedMetrics
from serving.workers.merged_status import merged_status
from serving.workers.shared_port import SharedPort
from serving.workers.worker_orders import WorkerOrders
from serving.workers.worker_process import RestartPolicy, WorkerProcess, WorkerState

logger = logging.getLogger(__name__)

_STATUS_PERIOD_S = 1.0
_WRITER_STOP_S = 2.5
_ORDERS_WAITING = 1000

WorkerCommand = Callable[[Path, str], Sequence[str]]
"""(socket of the worker, address of the shared port) -> what to run."""


class Parent:
    """Workers, and what stands before them; make it on the event loop.

    Args:
        settings: of the server as a whole.
        num_workers: how many.
        command: of a worker.
        policy: when workers are started again.

    Raises:
        StartupError: an address cannot be used.
    """

    def __init__(
        self,
        settings: ServerSettings,
        num_workers: int,
        command: WorkerCommand,
        policy: RestartPolicy | None = None,
    ) -> None:
        serving = settings.serving
        self._settings = settings
        make_operator_tokens(settings.state_dir)
        self.tokens = Tokens(serving.security.tokens_path(settings.state_dir), operator_files(settings.state_dir))
        check_public(settings.address, "--address", Role.RECOMMEND, serving.security.tls, self.tokens)
        self._port = SharedPort(settings.address, "--address")
        self.address = self._port.address
        # In a directory of its own, 0700: paths of sockets may have 107 characters, state directories are longer.
        self._sockets = Path(tempfile.mkdtemp(prefix="headrace-"))
        policy = policy or RestartPolicy(kill_after_s=serving.drain_s + 10.0)
        sockets = [self._sockets / f"{number}.sock" for number in range(num_workers)]
        self.workers = [
            WorkerProcess(number, socket, partial(command, socket, self.address), self._let_serve, policy)
            for number, socket in enumerate(sockets)
        ]
        self.orders = WorkerOrders(self.workers)
        self.health = Health()
        self.writer = KafkaWriter(partial(connect_producer, settings.endpoints.kafka_servers), _ORDERS_WAITING)
        self._edge = Edge(serving, self.tokens)
        self._admin_grpc: Any = None
        self.admin_address = self._listen_for_orders() if settings.admin_address else ""
        self.metrics = self._metrics_port()
        self._loaded: set[int] = set()
        self._may_open = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every worker; return when all of them serve that are not given up.

        Raises:
            StartupError: a worker cannot start as told.
            WorkersLostError: all were given up.
        """
        await self.health.start()
        if self._admin_grpc is not None:
            self.writer.start()
            await self._admin_grpc.start()
        if self.metrics is not None:
            self.metrics.start()
        self._running = [asyncio.create_task(self._keep_running(worker), name=str(worker)) for worker in self.workers]
        self._tasks.append(asyncio.create_task(self._report(), name="report status"))
        check_s = self._settings.serving.security.tokens_check_s
        self._tasks.append(asyncio.create_task(self.tokens.follow(check_s), name="tokens"))
        while not all(worker.state in (WorkerState.SERVING, WorkerState.GIVEN_UP) for worker in self.workers):
            await asyncio.wait(self._running, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
            self._raise_what_ended()
        self._raise_what_ended()
        logger.info("%d workers serve on %s, admin on %s", len(self.workers), self.address, self.admin_address or "-")

    async def wait_until_lost(self) -> None:
        """Return never; raise when no worker is left.

        Raises:
            WorkersLostError: all were given up.
        """
        await asyncio.wait(self._running, return_when=asyncio.ALL_COMPLETED)
        self._raise_what_ended()

    async def stop(self) -> None:
        """Say NOT_SERVING, let every worker drain, then stop the rest."""
        await self.health.drain()
        if self._admin_grpc is not None:
            await self._admin_grpc.stop(0)
        if self.metrics is not None:
            await asyncio.to_thread(self.metrics.stop)
        for worker in self.workers:
            worker.stop()
        await asyncio.gather(*self._running, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.writer.stop, _WRITER_STOP_S)
        self._port.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    async def _keep_running(self, worker: WorkerProcess) -> None:
        try:
            await worker.keep_running()
        finally:
            self._note_loaded(worker)  # Given up: the others wait for it no longer.

    async def _let_serve(self, worker: WorkerProcess) -> None:
        """Let a loaded worker serve; the first ones all at once, so that the port is there when all are ready."""
        self._note_loaded(worker)
        await self._may_open.wait()
        await self.orders.let_serve(worker)

    def _note_loaded(self, worker: WorkerProcess) -> None:
        self._loaded.add(worker.number)
        if len(self._loaded) == len(self.workers):
            self._may_open.set()

    def _raise_what_ended(self) -> None:
        for task in self._running:
            if task.done():
                task.result()
        if all(worker.state is WorkerState.GIVEN_UP for worker in self.workers):
            raise WorkersLostError(f"all {len(self.workers)} workers were given up; their reasons stand above")

    def _listen_for_orders(self) -> str:
        """Put ModelAdmin on its own port."""
        server = self._admin_grpc = self._edge.make_server()
        admin = AdminServicer(self.orders, self._settings.app.name, self.writer)
        checked = CheckedServer(server)
        serving_pb2_grpc.add_ModelAdminServicer_to_server(admin, checked)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, checked)
        return self._edge.listen(server, self._settings.admin_address, "--admin-address", Role.ADMIN)

    def _metrics_port(self) -> MetricsPort | None:
        own, all_of_them = CollectorRegistry(), CollectorRegistry()
        for collector in (self.tokens, self.writer):
            own.register(collector)
        all_of_them.register(MergedMetrics(self.workers, self._scrape, own, asyncio.get_running_loop()))
        settings = self._settings
        status = settings.state_dir / f"{settings.name}.json"
        return open_metrics_port(
            settings.metrics_address, all_of_them, self.tokens, settings.serving.security.tls, status
        )

    async def _scrape(self) -> Mapping[str, str]:
        serving = [worker for worker in self.workers if worker.is_serving]
        texts = await asyncio.gather(*(worker.link.metrics() for worker in serving), return_exceptions=True)
        return {str(worker.number): text for worker, text in zip(serving, texts, strict=True) if isinstance(text, str)}

    async def _report(self) -> None:
        """Keep health and the status file current."""
        path = self._settings.state_dir / f"{self._settings.name}.json"
        while True:
            status = await self._status()
            await self.health.set_any(any(worker.is_serving for worker in self.workers))
            await self.health.set_full(status.is_full_quality)
            with contextlib.suppress(OSError):  # A full disk must not end the reports.
                write_status(path, status)
            await asyncio.sleep(_STATUS_PERIOD_S)

    async def _status(self) -> ServingStatus:
        serving = [worker for worker in self.workers if worker.is_serving]
        replies = await asyncio.gather(*(worker.link.status() for worker in serving), return_exceptions=True)
        told = {
            worker.number: reply
            for worker, reply in zip(serving, replies, strict=True)
            if isinstance(reply, ServingStatus)
        }
        for worker, reply in zip(serving, replies, strict=True):
            if isinstance(reply, BaseException) and not isinstance(reply, grpc.aio.AioRpcError):
                logger.error("the status of %s cannot be read", worker, exc_info=reply)
        entries = [
            WorkerEntry(
                number=worker.number,
                pid=worker.pid,
                state=worker.state,
                restarts=worker.restarts,
                model_version=told[worker.number].model_version if worker.number in told else "",
            )
            for worker in self.workers
        ]
        return merged_status(list(told.values()), entries, self.address, self.admin_address)


async def run_parent(
    settings: ServerSettings, num_workers: int, command: WorkerCommand, is_stopping: asyncio.Event
) -> None:
    """Serve with several workers until told to stop.

    Raises:
        StartupError: the server cannot start as told.
        WorkersLostError: all workers were given up.
    """
    parent = Parent(settings, num_workers, command)
    stopping = asyncio.create_task(is_stopping.wait())
    working = asyncio.create_task(_serve(parent))
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await parent.stop()


async def _serve(parent: Parent) -> None:
    await parent.start()
    print("READY server", flush=True)
    await parent.wait_until_lost()
