"""Carries orders out on the models of this process, and tells of them as `ModelAdmin` does."""

from __future__ import annotations

from collections.abc import Callable

from protos import serving_pb2 as pb
from serving.admin import Order
from serving.errors import RequestError
from serving.kafka_writer import KafkaWriter
from serving.model_store import ModelStore
from serving.security.error_texts import public_text
from serving.version_records import VersionState, VersionStatus
from trainer.version_files import ModelVersion, VersionError

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
    """

    def __init__(
        self, models: ModelStore, writer: KafkaWriter, feature_offsets: Callable[[], dict[str, int]], schema_hash: str
    ) -> None:
        self._models = models
        self._writer = writer
        self._feature_offsets = feature_offsets
        self._schema_hash = schema_hash

    async def carry_out(self, order: Order) -> pb.ModelVersionStatus:
        """See `Orders`.

        Raises:
            RequestError: the version is no EPOCH.SEQ, or missing where the order needs one.
            CallError: it cannot be done.
        """
        models, version = self._models, _checked_version(order)
        if order.name == "load":
            status = await models.load(version)
        elif order.name == "rollback":
            status = await models.rollback(version)
        elif order.name == "pin":
            status = await models.pin(version)
        elif order.name == "reject":
            status = await models.reject(order.reason)
        else:
            status = await {"reload": models.reload, "unpin": models.unpin, "release": models.release}[order.name]()
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
            feature_offsets=self._feature_offsets(),
            feature_schema_hash=self._schema_hash,
            items_known=0 if live is None else live.num_items,
        )

    async def versions(self) -> pb.ListModelsResponse:
        """See `Orders`."""
        return pb.ListModelsResponse(versions=[self._message(status) for status in self._models.statuses()])

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
        if order.name == "load":
            raise RequestError("version is empty; name one as EPOCH.SEQ, for example 3.17")
        return ""
    try:
        return str(ModelVersion.parse(order.version))
    except VersionError as error:
        raise RequestError(str(error)) from error
