"""Writes what was served to `headrace.served.v1` while no caller waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.short_floats import json_rows
from serving.answers import RankedItem
from serving.kafka_writer import KafkaWriter, Record

SERVED_TOPIC = "headrace.served.v1"


@dataclass(frozen=True)
class ServedList:
    """One answered list; arrays are kept as they are and encoded in the writer's thread."""

    request_id: str
    user_id: str
    surface: str
    served_time_ms: int
    model_version: str
    feature_schema_hash: str
    user_row: NDArray[np.float32]
    """(U,) user-level inputs."""
    context: Mapping[str, str]
    items: Sequence[RankedItem]
    rows: NDArray[np.float32]
    """(n, F) ranker inputs of the shown items; (0, 0) where no model ranked."""
    learn: bool
    experiment: str = ""
    arm: str = ""


class _Item(msgspec.Struct, omit_defaults=True):
    item_id: str
    position: int
    score: float
    propensity: float
    source: str
    row: msgspec.Raw
    explored: bool = False


class _Served(msgspec.Struct, omit_defaults=True):
    request_id: str
    user_id: str
    surface: str
    served_time_ms: int
    model_version: str
    arm: str
    feature_schema_hash: str
    user_row: msgspec.Raw
    context: dict[str, str]
    items: list[_Item]
    learn: bool
    experiment: str = ""


def encode_served(served: ServedList) -> bytes:
    """Encode one list as JSON in the shape of `protos/samples.proto`."""
    rows = json_rows(served.rows) if served.rows.size else [b"[]"] * len(served.items)
    items = [
        _Item(item.item_id, position, item.score, item.propensity, item.source, msgspec.Raw(row), item.explored)
        for position, (item, row) in enumerate(zip(served.items, rows, strict=True))
    ]
    return msgspec.json.encode(
        _Served(
            request_id=served.request_id,
            user_id=served.user_id,
            surface=served.surface,
            served_time_ms=served.served_time_ms,
            model_version=served.model_version,
            arm=served.arm,
            feature_schema_hash=served.feature_schema_hash,
            user_row=msgspec.Raw(json_rows(served.user_row[None])[0]),
            context=dict(served.context),
            items=items,
            learn=served.learn,
            experiment=served.experiment,
        )
    )


class ServedLog:
    """Queues served lists for Kafka; `put` never waits.

    Args:
        writer: writes records.
    """

    def __init__(self, writer: KafkaWriter) -> None:
        self._writer = writer

    def put(self, served: ServedList) -> None:
        """Queue one list; where the writer is full it is dropped and counted there."""
        self._writer.put(Record(SERVED_TOPIC, served.request_id, partial(encode_served, served)))
