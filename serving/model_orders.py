"""Carries orders out on the models of this process, and tells of them as `ModelAdmin` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from protos import serving_pb2 as pb
from serving.admin import Order
from serving.arms.canary import Canaries
from serving.arms.canary_report import CanaryReport
from serving.errors import RequestError
from serving.kafka_writer import KafkaWriter
from serving.model_store import ModelStore
from serving.security.error_texts import public_text
from serving.version_records import VersionState, VersionStatus
from trainer.version_files import ModelVersion, VersionError

_CANARY = "canary"
_RELOAD = "reload"
_STATES = {
    VersionState.LOADING: pb.MODEL_STATE_LOADING,
    VersionState.AVAILABLE: pb.MODEL_STATE_AVAILABLE,
    VersionState.HELD: pb.MODEL_STATE_HELD,
    VersionState.REJECTED: pb.MODEL_STATE_REJECTED,
    VersionState.UNLOADED: pb.MODEL_STATE_UNLOADED,
}


class ModelOrders:
    """Orders to one process; see `Orders`.

    Args:
        models: carries them out.
        writer: counts served lists that were dropped.
        feature_offsets: tells where the item features stand.
        schema_hash: the schema this server computes.
        canaries: begins and ends canaries.
    """

    def __init__(
        self,
        models: ModelStore,
        writer: KafkaWriter,
        feature_offsets: Callable[[], dict[str, int]],
        schema_hash: str,
        canaries: Canaries,
    ) -> None:
        self._models = models
        self._writer = writer
        self._feature_offsets = feature_offsets
        self._schema_hash = schema_hash
        self._canaries = canaries
        self._one_at_a_time = asyncio.Lock()
        self._asked = self._reloaded = 0
        """How many orders came, and how many of them had come when the newest reload began."""

    async def carry_out(self, order: Order) -> pb.ModelVersionStatus:
        """See `Orders`. Reloads that wait at once share the next one, which begins behind all of them.

        Raises:
            RequestError: the version is no EPOCH.SEQ, or missing where the order needs one.
            CallError: it cannot be done.
        """
        order = order._replace(version=_checked_version(order))
        self._asked += 1
        number = self._asked
        async with self._one_at_a_time:  # What one finds is what the one before it left.
            live = self._models.live
            if order.name == _RELOAD and number <= self._reloaded and live is not None:
                return self._message(self._models.records.status_of(live.version))
            asked, status = self._asked, await self._without_canary(order)
            if order.name == _RELOAD:
                self._reloaded = asked
            return self._message(status)

    async def status(self) -> pb.GetModelStatusResponse:
        """See `Orders`."""
        models, live = self._models, self._models.live
        return pb.GetModelStatusResponse(
            live=None if live is None else self._message(models.records.status_of(live.version)),
            is_following=models.order is None,
            follow_reason="" if models.order is None else models.order.reason,
            swaps=models.records.swaps,
            refused=sum(models.records.refused.values()),
            last_refusal=public_text(models.records.last_refusal),
            served_log_dropped=self._writer.dropped,
            canary=_canary_message(self._canaries.report),
            last_canary=public_text(self._canaries.last_end),
            feature_offsets=self._feature_offsets(),
            feature_schema_hash=self._schema_hash,
            items_known=0 if live is None else live.num_items,
        )

    async def versions(self) -> pb.ListModelsResponse:
        """See `Orders`."""
        return pb.ListModelsResponse(versions=[self._message(status) for status in self._models.statuses()])

    async def _without_canary(self, order: Order) -> VersionStatus:
        """Carry out an order; any ends the canary: its own load promotes it, a bare rollback is all that it asks."""
        running = self._canaries.report
        if running is None or order.name == _CANARY:
            return await self._done(order)
        why = f"an order came: {order.name} {order.version}".rstrip()
        if (order.name, order.version) == ("load", running.version):
            return await self._canaries.promote(why) or await self._done(order)
        is_its_rollback = (order.name, order.version) == ("rollback", "")
        await self._canaries.stop(why, stays=is_its_rollback)
        if is_its_rollback:
            return self._models.records.status_of(running.live_version)
        is_bare_pin = (order.name, order.version) == ("pin", "")
        return await self._done(order._replace(version=running.live_version) if is_bare_pin else order)

    async def _done(self, order: Order) -> VersionStatus:
        models, version = self._models, order.version
        if order.name == "load":
            return await models.load(version)
        if order.name == _CANARY:
            return await self._canaries.begin(version, _checked_share(order))
        if order.name == "rollback":
            return await models.rollback(version)
        if order.name == "pin":
            return await models.pin(version)
        if order.name == "reject":
            return await models.reject(order.reason)
        return await {"reload": models.reload, "unpin": models.unpin, "release": models.release}[order.name]()

    def _message(self, status: VersionStatus) -> pb.ModelVersionStatus:
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


def _checked_version(order: Order) -> str:
    """Return the version as named.

    Raises:
        RequestError: it is no EPOCH.SEQ, or missing where the order needs one.
    """
    if not order.version:
        if order.name in ("load", _CANARY):
            raise RequestError("version is empty; name one as EPOCH.SEQ, for example 3.17")
        return ""
    try:
        return str(ModelVersion.parse(order.version))
    except VersionError as error:
        raise RequestError(str(error)) from error


def _checked_share(order: Order) -> float:
    """Return the share of a canary.

    Raises:
        RequestError: it is none.
    """
    if not 0.0 < order.canary_share < 1.0:
        raise RequestError(f"canary_share is {order.canary_share:g}; send one above 0 and below 1, for example 0.05")
    return order.canary_share


def _canary_message(report: CanaryReport | None) -> pb.CanaryStatus | None:
    return None if report is None else pb.CanaryStatus(**msgspec.structs.asdict(report))
