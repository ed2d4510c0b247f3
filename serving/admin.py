"""`ModelAdmin`: orders to this server's model store, each carried out once per idempotency key."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import msgspec

from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.call_errors import answered_errors
from serving.errors import RequestError
from serving.kafka_writer import KafkaWriter, Record
from serving.model_store import ModelStore
from serving.security.error_texts import public_text
from serving.servicer import check_id
from serving.version_records import VersionState, VersionStatus
from trainer.version_files import ModelVersion, VersionError

logger = logging.getLogger(__name__)

CONTROL_TOPIC = "headrace.control.v1"
_KEYS_REMEMBERED = 1000
_ROLE = "admin"
_STATES = {
    VersionState.LOADING: pb.MODEL_STATE_LOADING,
    VersionState.AVAILABLE: pb.MODEL_STATE_AVAILABLE,
    VersionState.HELD: pb.MODEL_STATE_HELD,
    VersionState.REJECTED: pb.MODEL_STATE_REJECTED,
    VersionState.UNLOADED: pb.MODEL_STATE_UNLOADED,
}

Response = TypeVar("Response")
Order = Callable[[], Awaitable[VersionStatus]]


class _OrderRecord(msgspec.Struct):
    idempotency_key: str
    name: str
    order: str
    version: str
    role: str
    time_ms: int
    reason: str


class AdminServicer(serving_pb2_grpc.ModelAdminServicer):
    """The `ModelAdmin` service.

    Args:
        models: carries orders out.
        name: model name, the key of the orders on `headrace.control.v1`.
        writer: writes orders for the fleet, best effort.
        feature_offsets: tells where the item features stand.
        schema_hash: the schema this server computes.
    """

    def __init__(
        self,
        models: ModelStore,
        name: str,
        writer: KafkaWriter,
        feature_offsets: Callable[[], dict[str, int]],
        schema_hash: str,
    ) -> None:
        self._models = models
        self._name = name
        self._writer = writer
        self._feature_offsets = feature_offsets
        self._schema_hash = schema_hash
        self._orders: OrderedDict[str, tuple[tuple[str, str], asyncio.Future[VersionStatus]]] = OrderedDict()

    async def LoadModel(self, request: pb.LoadModelRequest, context: Any) -> pb.LoadModelResponse:
        """Serve a named version now."""
        return await self._carry_out("load", request, context, self._models.load, pb.LoadModelResponse)

    async def ReloadModel(self, request: pb.ReloadModelRequest, context: Any) -> pb.ReloadModelResponse:
        """Read the newest version again."""
        return await self._carry_out("reload", request, context, self._models.reload, pb.ReloadModelResponse)

    async def RollbackModel(self, request: pb.RollbackModelRequest, context: Any) -> pb.RollbackModelResponse:
        """Serve an earlier version and stop following."""
        return await self._carry_out("rollback", request, context, self._models.rollback, pb.RollbackModelResponse)

    async def PinModel(self, request: pb.PinModelRequest, context: Any) -> pb.PinModelResponse:
        """Stay at a version."""
        return await self._carry_out("pin", request, context, self._models.pin, pb.PinModelResponse)

    async def UnpinModel(self, request: pb.UnpinModelRequest, context: Any) -> pb.UnpinModelResponse:
        """Follow again."""
        return await self._carry_out("unpin", request, context, self._models.unpin, pb.UnpinModelResponse)

    async def ReleaseModel(self, request: pb.ReleaseModelRequest, context: Any) -> pb.ReleaseModelResponse:
        """Serve the newest version that a gate holds."""
        return await self._carry_out("release", request, context, self._models.release, pb.ReleaseModelResponse)

    async def RejectModel(self, request: pb.RejectModelRequest, context: Any) -> pb.RejectModelResponse:
        """Reject the newest version that a gate holds."""
        reject = partial(self._models.reject, request.reason)
        return await self._carry_out("reject", request, context, reject, pb.RejectModelResponse)

    async def GetModelStatus(self, request: pb.GetModelStatusRequest, context: Any) -> pb.GetModelStatusResponse:
        """Say what serves and whether it follows."""
        models, live = self._models, self._models.live
        return pb.GetModelStatusResponse(
            live=None if live is None else self._status_message(models.records.status_of(live.version)),
            is_following=models.order is None,
            follow_reason="" if models.order is None else models.order.reason,
            swaps=models.records.swaps,
            refused=sum(models.records.refused.values()),
            last_refusal=public_text(models.records.last_refusal),
            served_log_dropped=self._writer.dropped,
            feature_offsets=self._feature_offsets(),
            feature_schema_hash=self._schema_hash,
            items_known=0 if live is None else live.num_items,
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """List the versions in the store and those remembered, oldest first."""
        return pb.ListModelsResponse(versions=[self._status_message(status) for status in self._models.statuses()])

    async def _carry_out(
        self,
        order: str,
        request: Any,
        context: Any,
        call: Callable[..., Awaitable[VersionStatus]],
        response: Callable[..., Response],
    ) -> Response:
        """Check an order, carry it out once per key, leave an audit line, and answer."""
        async with answered_errors(context):
            check_id("idempotency_key", request.idempotency_key)
            version = _checked_version(order, getattr(request, "version", ""))
            arguments = (version,) if hasattr(request, "version") else ()
            try:
                status = await self._once(request.idempotency_key, (order, version), lambda: call(*arguments))
            except Exception as error:
                logger.warning("audit: %s %s by %s refused: %s", order, version or "-", context.peer(), error)
                raise
            logger.info("audit: %s %s by %s done, live is %s", order, version or "-", context.peer(), status.version)
            self._tell_the_fleet(order, status.version, request)
            return response(status=self._status_message(status))
        raise AssertionError("abort raises")

    async def _once(self, key: str, what: tuple[str, str], call: Order) -> VersionStatus:
        """Carry out an order, or return what the same order with this key gave; failures may be tried again.

        Raises:
            RequestError: the key belongs to another order.
        """
        if key in self._orders:
            known, outcome = self._orders[key]
            if known != what:
                raise RequestError(f"idempotency_key {key!r} was used for {known[0]} {known[1]}; send a fresh key")
            return await asyncio.shield(outcome)
        outcome = asyncio.ensure_future(call())
        self._orders[key] = (what, outcome)
        if len(self._orders) > _KEYS_REMEMBERED:
            self._orders.popitem(last=False)
        outcome.add_done_callback(partial(self._forget_failed, key))
        # Shielded: a caller that hangs up must not leave an order half carried out.
        return await asyncio.shield(outcome)

    def _forget_failed(self, key: str, outcome: asyncio.Future[VersionStatus]) -> None:
        if outcome.cancelled() or outcome.exception() is not None:
            self._orders.pop(key, None)

    def _tell_the_fleet(self, order: str, version: str, request: Any) -> None:
        now_ms = time.time_ns() // 1_000_000
        record = _OrderRecord(
            request.idempotency_key, self._name, order, version, _ROLE, now_ms, getattr(request, "reason", "")
        )
        self._writer.put(Record(CONTROL_TOPIC, self._name, lambda: msgspec.json.encode(record)))

    def _status_message(self, status: VersionStatus) -> pb.ModelVersionStatus:
        live, order, manifest = self._models.live, self._models.order, status.manifest
        message = pb.ModelVersionStatus(
            version=status.version,
            state=_STATES[status.state],
            reason=public_text(status.reason),
            loaded_time_ms=status.loaded_time_ms,
            is_live=live is not None and live.version == status.version,
            is_pinned=order is not None and order.order == "pin" and order.version == status.version,
        )
        if manifest is not None:
            message.created_time_ms = manifest.created_time_ms
            message.newest_event_time_ms = manifest.newest_event_time_ms
            message.newest_broker_time_ms = manifest.newest_broker_time_ms
            message.sample_offsets.update(manifest.sample_offsets)
            message.metrics.update(manifest.metrics)
        return message


def _checked_version(order: str, version: str) -> str:
    """Return the version as named.

    Raises:
        RequestError: it is no EPOCH.SEQ, or missing where the order needs one.
    """
    if not version:
        if order == "load":
            raise RequestError("version is empty; name one as EPOCH.SEQ, for example 3.17")
        return ""
    try:
        return str(ModelVersion.parse(version))
    except VersionError as error:
        raise RequestError(str(error)) from error
