"""How the parent asks a worker: gRPC over a Unix socket, in a directory that only this user can enter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import msgspec

from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.admin import Order
from serving.status_file import ServingStatus

SERVICE = "headrace.serving.internal.Worker"
"""On no port, so in no table of roles; who can open the socket may as well kill the worker."""
MESSAGE_BYTES = 64 << 20
_REPORT_S = 2.0
_OPEN_S = 10.0


def socket_address(path: Path) -> str:
    """Return how gRPC names a Unix socket."""
    return f"unix:{path}"


def worker_handlers(calls: Mapping[str, Callable[[bytes, Any], Awaitable[bytes]]]) -> Any:
    """Return the worker's side of `WorkerLink`: bytes to bytes, by name of the method."""
    methods = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in calls.items()}
    return grpc.method_handlers_generic_handler(SERVICE, methods)


class WorkerLink:
    """One worker as the parent sees it.

    Args:
        path: its socket.
    """

    def __init__(self, path: Path) -> None:
        self._channel = grpc.aio.insecure_channel(
            socket_address(path),
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.use_local_subchannel_pool", 1),
                # The socket is there from a moment on; a pause that doubles would find that out late.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 200),
            ],
        )
        self._admin: Any = serving_pb2_grpc.ModelAdminStub(self._channel)  # type: ignore[no-untyped-call]

    async def wait_until_loaded(self) -> None:
        """Return once the worker answers: it opens its socket when it could serve."""
        await self._channel.channel_ready()

    async def open_port(self) -> None:
        """Let the worker take requests.

        Raises:
            grpc.aio.AioRpcError: it could not.
        """
        await self._ask("Open", _OPEN_S)

    async def status(self) -> ServingStatus:
        """Return what the worker tells of itself.

        Raises:
            grpc.aio.AioRpcError: it does not answer.
        """
        return msgspec.json.decode(await self._ask("Status", _REPORT_S), type=ServingStatus)

    async def metrics(self) -> str:
        """Return the worker's metrics in Prometheus' text format.

        Raises:
            grpc.aio.AioRpcError: it does not answer.
        """
        return (await self._ask("Metrics", _REPORT_S)).decode()

    async def carry_out(self, order: Order, timeout_s: float) -> pb.ModelVersionStatus:
        """Give the worker an order.

        Raises:
            grpc.aio.AioRpcError: it refuses or does not answer.
        """
        method = f"{order.name.capitalize()}Model"
        request = getattr(pb, f"{method}Request")(idempotency_key=order.idempotency_key)
        for field in ("version", "reason"):
            if field in request.DESCRIPTOR.fields_by_name:
                setattr(request, field, getattr(order, field))
        reply = await getattr(self._admin, method)(request, timeout=timeout_s)
        status: pb.ModelVersionStatus = reply.status
        return status

    async def model_status(self) -> pb.GetModelStatusResponse:
        """Return what the worker's `ModelAdmin` says.

        Raises:
            grpc.aio.AioRpcError: it does not answer.
        """
        reply: pb.GetModelStatusResponse = await self._admin.GetModelStatus(
            pb.GetModelStatusRequest(), timeout=_REPORT_S
        )
        return reply

    async def versions(self) -> pb.ListModelsResponse:
        """Return the versions that the worker knows.

        Raises:
            grpc.aio.AioRpcError: it does not answer.
        """
        reply: pb.ListModelsResponse = await self._admin.ListModels(pb.ListModelsRequest(), timeout=_REPORT_S)
        return reply

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()

    async def _ask(self, method: str, timeout_s: float) -> bytes:
        reply: bytes = await self._channel.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=timeout_s)
        return reply
