"""Feature rows as the jobs write them: `FeatureRow` of `protos/features.proto`, Feast's bytes of every column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from features.errors import BadRowError
from protos import features_pb2, online_rows_pb2

_JSON = b"{"
_NOT_COLUMNS = ("event_time_ms", "features", "entity_id")


def is_packed(value: bytes) -> bool:
    """Say whether a record is a `FeatureRow`; else it is a row in JSON."""
    return not value.startswith(_JSON)


def read_packed(value: bytes) -> features_pb2.FeatureRow:
    """Read a record whose columns stay bytes.

    Raises:
        BadRowError: it is no `FeatureRow`.
    """
    try:
        return features_pb2.FeatureRow.FromString(value)
    except DecodeError as error:
        raise BadRowError(f"a record of {len(value)} bytes is no FeatureRow: {error}") from error


def unpack_row(value: bytes, kind: type[Any]) -> Any:
    """Return a record as `kind`, the struct of its view's JSON rows.

    Raises:
        BadRowError: it is no `FeatureRow` with the columns of this view.
    """
    row = read_packed(value)
    names = [field.name for field in msgspec.structs.fields(kind) if field.name not in _NOT_COLUMNS]
    if len(row.values) != len(names):
        raise BadRowError(f"{len(row.values)} columns, not {', '.join(names)}")
    columns: dict[str, Any] = {name: unpack_list(packed) for name, packed in zip(names, row.values, strict=True)}
    if row.declared:
        columns["features"] = {name: unpack_list(packed) for name, packed in row.declared.items()}
    return kind(entity_id=row.entity_id, event_time_ms=row.event_time_ms, **columns)


def unpack_list(packed: bytes) -> Sequence[Any]:
    """Return the elements of a column.

    Raises:
        BadRowError: the bytes are no list of Feast's.
    """
    try:
        value = online_rows_pb2.Value.FromString(packed)
    except DecodeError as error:
        raise BadRowError(f"a column of {len(packed)} bytes is no value of Feast's: {error}") from error
    kind = value.WhichOneof("val")
    if kind is None or not kind.endswith("_list_val"):
        raise BadRowError(f"a column of {len(packed)} bytes is no list")
    return list(getattr(value, kind).val)
