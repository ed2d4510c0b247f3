"""One of several server processes: loads, waits for its parent's word, serves until the parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import grpc
import msgspec
import torch
from prometheus_client import generate_latest

from features.blas_threads import limit_blas_threads
from features.errors import StartupError
from protos import serving_pb2_grpc
from serving.admin import AdminServicer
from serving.call_errors import refuse
from serving.calm_collector import calm_collector
from serving.connections import Connections
from serving.server import Server
from serving.server_settings import QUOTA_FILE, ServerSettings
from serving.workers.link import MESSAGE_BYTES, socket_address, worker_handlers


class WorkerDesk:
    """Where the parent's calls come in; there once the server is loaded.

    Args:
        server: of this process.
        name: model name.
        path: the socket.
    """

    def __init__(self, server: Server, name: str, path: Path) -> None:
        self._server = server
        self._path = path
        self._parent_pid = os.getppid()
        self._grpc = grpc.aio.server(options=[("grpc.max_send_message_length", MESSAGE_BYTES)])
        calls = {"Open": self._open, "Status": self._status, "Metrics": self._metrics}
        self._grpc.add_generic_rpc_handlers((worker_handlers(calls),))
        # The parent tells the fleet, once for all workers.
        admin = AdminServicer(server.orders, name, writer=None)
        serving_pb2_grpc.add_ModelAdminServicer_to_server(admin, self._grpc)  # type: ignore[no-untyped-call]

    async def start(self) -> None:
        """Open the socket."""
        self._grpc.add_insecure_port(socket_address(self._path))
        await self._grpc.start()

    async def stop(self) -> None:
        """Close the socket; where the parent is gone and cannot clean up, the last worker removes the directory."""
        await self._grpc.stop(0)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            if os.getppid() != self._parent_pid:
                (self._path.parent / QUOTA_FILE).unlink(missing_ok=True)
                self._path.parent.rmdir()

    async def _open(self, request: bytes, context: Any) -> bytes:
        try:
            await self._server.open()
        except StartupError as error:
            refuse(context, grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return b""

    async def _status(self, request: bytes, context: Any) -> bytes:
        return msgspec.json.encode(self._server.status())

    async def _metrics(self, request: bytes, context: Any) -> bytes:
        return generate_latest(self._server.times.registry)


async def run_worker(settings: ServerSettings, socket_path: Path, is_stopping: asyncio.Event) -> None:
    """Load, then serve from the parent's word on until told to stop, or until the parent is gone.

    Raises:
        StartupError: the server cannot start as told.
    """
    torch.set_num_threads(1)
    limit_blas_threads(1)
    server = Server(settings, Connections.of(settings))
    desk = WorkerDesk(server, settings.app.name, socket_path)
    stopping = asyncio.create_task(_wait_for_the_end(is_stopping))
    loading = asyncio.create_task(server.load())
    try:
        await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            calm_collector()
            await desk.start()
            await stopping
    finally:
        for task in (loading, stopping):
            task.cancel()
        await server.stop()
        await desk.stop()


async def _wait_for_the_end(is_stopping: asyncio.Event) -> None:
    """Return when a signal came, or when the pipe from the parent ends, which it does however the parent dies."""
    loop = asyncio.get_running_loop()
    pipe = sys.stdin.fileno()

    def look() -> None:
        if not os.read(pipe, 1):
            loop.remove_reader(pipe)
            is_stopping.set()

    loop.add_reader(pipe, look)
    await is_stopping.wait()
