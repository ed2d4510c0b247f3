"""Feature rows as columns: packed into bytes when they are written online, and Arrow when they reach a file.

Packing copies numbers into flat arrays (1-7 us a row); Arrow takes those bytes as they are.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.feature_topics import FEATURE_TOPICS, FeatureRow, FieldKind

IDS, EVENT_TIMES = "", "event_time_ms"
"""Names of the two packed columns that are no Feast fields."""
TIMESTAMP = "event_timestamp"
"""The row version: when the server could read the row."""
_TIMESTAMP_TYPE = pa.timestamp("ms", tz="UTC")

PackedColumn = Any
"""`[lengths, values]`: int32 bytes, -1 where the value is missing; then number bytes, or strings as a list."""
PackedRows = Mapping[str, PackedColumn]

_ARROW_TYPES: Mapping[FieldKind, Any] = {
    "int64": pa.int64(),
    "int64_list": pa.list_(pa.int64()),
    "double_list": pa.list_(pa.float64()),
    "string_list": pa.list_(pa.string()),
}


@dataclass(frozen=True)
class LogLayout:
    """What the log of one view holds."""

    view: str
    join_key: str
    fields: Mapping[str, FieldKind]
    """Every Feast field, declared ones too."""


def log_layouts(features: FeaturesConfig) -> dict[str, LogLayout]:
    """Return the layout of every view by its name."""
    return {topic.view: LogLayout(topic.view, topic.join_key, topic.fields_of(features)) for topic in FEATURE_TOPICS}


def log_schema(layout: LogLayout) -> Any:
    """Return the Arrow schema of a view's log: join key, Feast fields, newest event time, row version."""
    columns = [(layout.join_key, pa.string())]
    columns += [(name, _ARROW_TYPES[kind]) for name, kind in layout.fields.items()]
    return pa.schema([*columns, (EVENT_TIMES, pa.int64()), (TIMESTAMP, _TIMESTAMP_TYPE)])


def pack_rows(layout: LogLayout, rows: Sequence[FeatureRow]) -> PackedRows:
    """Turn rows of one view into packed columns."""
    packed: dict[str, PackedColumn] = {IDS: [row.entity_id for row in rows]}
    packed[EVENT_TIMES] = _pack_numbers("q", [row.event_time_ms or None for row in rows])
    for name, kind in layout.fields.items():
        packed[name] = _PACKERS[kind]([row.fields[name] for row in rows])
    return packed


def arrow_table(layout: LogLayout, batches: Sequence[tuple[int, PackedRows]]) -> Any:
    """Turn packed rows of one view, each with its version, into an Arrow table; fields they do not have are missing."""
    ids = [entity_id for _, packed in batches for entity_id in packed[IDS]]
    sizes = [len(packed[IDS]) for _, packed in batches]
    versions = np.repeat(np.array([version_ms for version_ms, _ in batches], dtype=np.int64), sizes)
    columns = {layout.join_key: pa.array(ids, pa.string()), EVENT_TIMES: _column("int64", EVENT_TIMES, batches, sizes)}
    columns[TIMESTAMP] = pa.array(versions, pa.int64()).cast(_TIMESTAMP_TYPE)
    for name, kind in layout.fields.items():
        columns[name] = _column(kind, name, batches, sizes)
    schema = log_schema(layout)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _column(kind: FieldKind, name: str, batches: Sequence[tuple[int, PackedRows]], sizes: Sequence[int]) -> Any:
    columns = [
        packed.get(name) or _PACKERS[kind]([None] * size) for (_, packed), size in zip(batches, sizes, strict=True)
    ]
    lengths = np.frombuffer(b"".join(lengths for lengths, _ in columns), dtype=np.int32)
    if kind == "string_list":
        return _list_column(lengths, pa.array(list(chain.from_iterable(values for _, values in columns)), pa.string()))
    numbers = np.frombuffer(
        b"".join(values for _, values in columns), np.float64 if kind == "double_list" else np.int64
    )
    if kind != "int64":
        return _list_column(lengths, pa.array(numbers))
    whole = np.zeros(len(lengths), dtype=np.int64)
    whole[lengths > 0] = numbers
    return pa.array(whole, mask=lengths < 0)


def _list_column(lengths: NDArray[np.int32], values: Any) -> Any:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(lengths < 0))


def _lengths(values: Sequence[Any]) -> bytes:
    return array("i", [-1 if value is None else len(value) for value in values]).tobytes()


def _pack_numbers(code: str, values: Sequence[Any]) -> PackedColumn:
    lengths = array("i", [-1 if value is None else 1 for value in values]).tobytes()
    return [lengths, array(code, [value for value in values if value is not None]).tobytes()]


def _pack_lists(code: str, values: Sequence[Any]) -> PackedColumn:
    # Row by row: half the time of one array over all of them.
    return [_lengths(values), b"".join([struct.pack(f"{len(value)}{code}", *value) for value in values if value])]


def _pack_strings(values: Sequence[Any]) -> PackedColumn:
    return [_lengths(values), list(chain.from_iterable(filter(None, values)))]


_PACKERS: Mapping[FieldKind, Callable[[Sequence[Any]], PackedColumn]] = {
    "int64": lambda values: _pack_numbers("q", values),
    "int64_list": lambda values: _pack_lists("q", values),
    "double_list": lambda values: _pack_lists("d", values),
    "string_list": _pack_strings,
}
