"""Feature rows as columns: the bytes that go to Redis when they are written online, and Arrow when they reach a file.

The journal keeps Feast's bytes, which are there already (1 us a row); the log's own thread reads them column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from features.compiled import compiled
from features.config import FeaturesConfig
from features.errors import FeatureLogError
from features.feast_rows import EncodedRow
from features.feature_topics import FEATURE_TOPICS, FieldKind
from features.varints import read_varint

IDS, EVENT_TIMES = "", "event_time_ms"
"""Names of the two packed columns that are no Feast fields."""
TIMESTAMP = "event_timestamp"
"""The row version: when the server could read the row."""
_TIMESTAMP_TYPE = pa.timestamp("ms", tz="UTC")

PackedRows = Mapping[str, Sequence[Any]]
"""Column -> its values: Feast's bytes, empty where the value is missing; ids and event times (0: none) as they are."""

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


def pack_rows(rows: Sequence[EncodedRow]) -> bytes:
    """Pack rows as the journal keeps them: `[view, {column: values}]` for each view and list of fields."""
    groups: dict[tuple[str, Sequence[str]], list[EncodedRow]] = {}
    for row in rows:
        groups.setdefault((row.view, row.names), []).append(row)
    return msgspec.msgpack.encode([(view, _columns(names, group)) for (view, names), group in groups.items()])


def _columns(names: Sequence[str], rows: Sequence[EncodedRow]) -> PackedRows:
    columns: dict[str, Sequence[Any]] = {
        IDS: [row.entity_id for row in rows],
        EVENT_TIMES: [row.event_time_ms for row in rows],
    }
    columns.update(zip(names, zip(*(row.values for row in rows), strict=True), strict=True))
    return columns


def unpack_groups(packed: Any) -> list[tuple[str, PackedRows]]:
    """Return what `pack_rows` packed.

    Raises:
        FeatureLogError: it is anything else, say of another release.
    """
    try:
        groups: list[tuple[str, PackedRows]] = msgspec.msgpack.decode(
            packed, type=list[tuple[str, dict[str, list[Any]]]]
        )
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FeatureLogError(f"a journal of another release: {error}") from error
    return groups


def arrow_table(layout: LogLayout, batches: Sequence[tuple[int, PackedRows]]) -> Any:
    """Turn packed rows of one view, each with its version, into an Arrow table; fields they do not have are missing."""
    ids = [entity_id for _, packed in batches for entity_id in packed[IDS]]
    sizes = [len(packed[IDS]) for _, packed in batches]
    versions = np.repeat(np.array([version_ms for version_ms, _ in batches], dtype=np.int64), sizes)
    columns = {layout.join_key: pa.array(ids, pa.string()), EVENT_TIMES: _event_times(batches)}
    columns[TIMESTAMP] = pa.array(versions, pa.int64()).cast(_TIMESTAMP_TYPE)
    for name, kind in layout.fields.items():
        values = [packed.get(name) or [b""] * size for (_, packed), size in zip(batches, sizes, strict=True)]
        columns[name] = _DECODERS[kind](list(chain.from_iterable(values)))
    schema = log_schema(layout)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _event_times(batches: Sequence[tuple[int, PackedRows]]) -> Any:
    times_ms = np.array([time_ms for _, packed in batches for time_ms in packed[EVENT_TIMES]], dtype=np.int64)
    return pa.array(times_ms, mask=times_ms == 0)


def _decode_doubles(values: Sequence[bytes]) -> Any:
    bodies = [value[_list_start(len(value)) :] for value in values]
    numbers = np.frombuffer(b"".join(bodies), np.float64)
    return _list_column(values, [len(body) // 8 for body in bodies], pa.array(numbers))


def _decode_int64s(values: Sequence[bytes]) -> Any:
    bodies = [value[_list_start(len(value)) :] for value in values]
    numbers, ends = decode_varints(b"".join(bodies))
    until = np.searchsorted(ends, np.cumsum([len(body) for body in bodies]))  # Numbers up to the end of each row.
    return _list_column(values, np.diff(until, prepend=0), pa.array(numbers))


def _decode_int64(values: Sequence[bytes]) -> Any:
    numbers, _ = decode_varints(b"".join([value[1:] for value in values]))
    is_missing = np.array([not value for value in values])
    whole = np.zeros(len(values), dtype=np.int64)
    whole[~is_missing] = numbers
    return pa.array(whole, mask=is_missing)


def _decode_strings(values: Sequence[bytes]) -> Any:
    bodies = [value[_body_start(len(value)) :] for value in values]
    data = np.frombuffer(b"".join(bodies), np.uint8)
    offsets, texts = np.zeros(len(data) // 2 + 1, dtype=np.int32), np.empty(len(data), dtype=np.uint8)
    lengths = np.empty(len(values), dtype=np.int64)
    count = _unpack_texts(data, np.cumsum([len(body) for body in bodies]), lengths, offsets, texts)
    if count < 0:
        raise FeatureLogError("a list of texts in the journal is damaged")
    column = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(texts))
    return _list_column(values, lengths, column)


@compiled
def _unpack_texts(data: Any, until: Any, lengths: Any, offsets: Any, texts: Any) -> int:
    """Put the texts of string lists one behind the other; return how many there are, -1 where one does not end.

    Args:
        data: string lists, one behind the other, shape (N,) uint8.
        until: the end of each, (R,).
        lengths: filled with the texts of each list, (R,).
        offsets: filled with the end of each text behind the first place, which is 0.
        texts: filled with their bytes.
    """
    count = size = at = 0
    for row in range(len(until)):
        before = count
        while at < until[row]:
            length, start = read_varint(data, at + 1)  # One byte of a tag.
            at = start + length
            if not start <= at <= until[row]:
                return -1
            for place in range(length):  # Of short texts faster than a slice.
                texts[size + place] = data[start + place]
            size += length
            count += 1
            offsets[count] = size
        lengths[row] = count - before
    return count


def decode_varints(joined: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read protobuf's variable-length numbers; return them and the index of the last byte of each."""
    data = np.frombuffer(joined, np.uint8)
    numbers, ends = np.empty(len(data), dtype=np.int64), np.empty(len(data), dtype=np.int64)
    count = _read_varints(data, numbers, ends)
    return numbers[:count], ends[:count]


@compiled
def _read_varints(data: Any, numbers: Any, ends: Any) -> int:
    count = at = 0
    while at < len(data):
        numbers[count], at = read_varint(data, at)
        ends[count] = at - 1
        count += 1
    return count


@cache
def _list_start(length: int) -> int:
    """Return where the packed numbers start in the `length` bytes of a list: behind two tags and two lengths."""
    start = _body_start(length)
    return start and start + _body_start(length - start)


@cache
def _body_start(length: int) -> int:
    """Return where a message starts in `length` bytes that hold nothing else: behind a tag and a length."""
    return 1 + _length_bytes(length - 1) if length else 0


def _length_bytes(rest: int) -> int:
    """Return how many of the next `rest` bytes say how many follow them."""
    width = 1
    while rest - width >= 1 << 7 * width:
        width += 1
    return width


def _list_column(values: Sequence[bytes], lengths: ArrayLike, elements: Any) -> Any:
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    is_missing = pa.array([not value for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), elements, mask=is_missing)


_DECODERS: Mapping[FieldKind, Callable[[Sequence[bytes]], Any]] = {
    "int64": _decode_int64,
    "int64_list": _decode_int64s,
    "double_list": _decode_doubles,
    "string_list": _decode_strings,
}
