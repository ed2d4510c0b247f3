"""`ModelAdmin`: the gRPC surface of orders, each carried out once per idempotency key, audited, told to the fleet."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.call_errors import answers_errors
from serving.checked_id import check_id
from serving.errors import RequestError
from serving.kafka_writer import KafkaWriter, Record

logger = logging.getLogger(__name__)

CONTROL_TOPIC = "headrace.control.v1"
_KEYS_REMEMBERED = 1000
_ROLE = "admin"

Response = TypeVar("Response")


class Order(NamedTuple):
    """One order, as `ModelAdmin` takes it."""

    name: str
    """`load`, `canary`, `reload`, `rollback`, `pin`, `unpin`, `release` or `reject`."""
    idempotency_key: str
    version: str = ""
    """As the caller named it; empty where the order leaves it open."""
    reason: str = ""
    canary_share: float = 0.0
    """Of `canary`."""


class Orders(Protocol):
    """What carries orders out: the models of this process, or the workers of a parent."""

    async def carry_out(self, order: Order) -> pb.ModelVersionStatus:
        """Do it and return the version that it was about.

        Raises:
            CallError: it cannot be done.
        """

    async def status(self) -> pb.GetModelStatusResponse:
        """Say what serves and whether it follows."""

    async def versions(self) -> pb.ListModelsResponse:
        """Return the versions in the store and those remembered, oldest first."""


class AdminServicer(serving_pb2_grpc.ModelAdminServicer):
    """The `ModelAdmin` service.

    Args:
        orders: carries orders out.
        name: model name, the key of the orders on `headrace.control.v1`.
        writer: writes orders for the fleet, best effort; None where somebody else tells it.
    """

    def __init__(self, orders: Orders, name: str, writer: KafkaWriter | None) -> None:
        self._target = orders
        self._name = name
        self._writer = writer
        self._orders: OrderedDict[str, tuple[Order, asyncio.Future[pb.ModelVersionStatus]]] = OrderedDict()

    @answers_errors
    async def LoadModel(self, request: pb.LoadModelRequest, context: Any) -> pb.LoadModelResponse:
        """Serve a named version now, or to a share of the users first."""
        name = "canary" if request.canary_share else "load"
        return await self._carry_out(name, request, context, pb.LoadModelResponse)

    @answers_errors
    async def ReloadModel(self, request: pb.ReloadModelRequest, context: Any) -> pb.ReloadModelResponse:
        """Read the newest version again."""
        return await self._carry_out("reload", request, context, pb.ReloadModelResponse)

    @answers_errors
    async def RollbackModel(self, request: pb.RollbackModelRequest, context: Any) -> pb.RollbackModelResponse:
        """Serve an earlier version and stop following."""
        return await self._carry_out("rollback", request, context, pb.RollbackModelResponse)

    @answers_errors
    async def PinModel(self, request: pb.PinModelRequest, context: Any) -> pb.PinModelResponse:
        """Stay at a version."""
        return await self._carry_out("pin", request, context, pb.PinModelResponse)

    @answers_errors
    async def UnpinModel(self, request: pb.UnpinModelRequest, context: Any) -> pb.UnpinModelResponse:
        """Follow again."""
        return await self._carry_out("unpin", request, context, pb.UnpinModelResponse)

    @answers_errors
    async def ReleaseModel(self, request: pb.ReleaseModelRequest, context: Any) -> pb.ReleaseModelResponse:
        """Serve the newest version that a gate holds."""
        return await self._carry_out("release", request, context, pb.ReleaseModelResponse)

    @answers_errors
    async def RejectModel(self, request: pb.RejectModelRequest, context: Any) -> pb.RejectModelResponse:
        """Reject the newest version that a gate holds."""
        return await self._carry_out("reject", request, context, pb.RejectModelResponse)

    @answers_errors
    async def GetModelStatus(self, request: pb.GetModelStatusRequest, context: Any) -> pb.GetModelStatusResponse:
        """Say what serves and whether it follows."""
        return await self._target.status()

    @answers_errors
    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """List the versions in the store and those remembered, oldest first."""
        return await self._target.versions()

    async def _carry_out(self, name: str, request: Any, context: Any, response: Callable[..., Response]) -> Response:
        """Check an order, carry it out once per key, leave an audit line, and answer."""
        check_id("idempotency_key", request.idempotency_key)
        version, reason = getattr(request, "version", ""), getattr(request, "reason", "")
        order = Order(name, request.idempotency_key, version, reason, getattr(request, "canary_share", 0.0))
        try:
            status = await self._once(order)
        except Exception as error:
            logger.warning("audit: %s %.40r by %s refused: %s", name, version or "-", context.peer(), error)
            raise
        logger.info("audit: %s %s by %s done, live is %s", name, version or "-", context.peer(), status.version)
        self._tell_the_fleet(order, status.version)
        return response(status=status)

    async def _once(self, order: Order) -> pb.ModelVersionStatus:
        """Carry out an order, or return what the same order with this key gave; failures may be tried again.

        Raises:
            RequestError: the key belongs to another order.
        """
        key = order.idempotency_key
        if key in self._orders:
            known, outcome = self._orders[key]
            if (known.name, known.version) != (order.name, order.version):
                raise RequestError(
                    f"idempotency_key {key!r} was used for {known.name} {known.version}; send a fresh key"
                )
            return await asyncio.shield(outcome)
        outcome = asyncio.ensure_future(self._target.carry_out(order))
        self._orders[key] = (order, outcome)
        if len(self._orders) > _KEYS_REMEMBERED:
            self._orders.popitem(last=False)
        outcome.add_done_callback(partial(self._forget_failed, key))
        # Shielded: a caller that hangs up must not leave an order half carried out.
        return await asyncio.shield(outcome)

    def _forget_failed(self, key: str, outcome: asyncio.Future[pb.ModelVersionStatus]) -> None:
        if outcome.cancelled() or outcome.exception() is not None:
            self._orders.pop(key, None)

    def _tell_the_fleet(self, order: Order, version: str) -> None:
        if self._writer is None:
            return
        content = {
            "idempotency_key": order.idempotency_key,
            "name": self._name,
            "order": order.name,
            "version": version,
            "role": _ROLE,
            "time_ms": time.time_ns() // 1_000_000,
            "reason": order.reason,
        }
        self._writer.put(Record(CONTROL_TOPIC, self._name, lambda: msgspec.json.encode(content)))
