"""Feast's Redis layout of a row: key, field names, value bytes, version.

The layout is Feast's published online store format for Redis (entity key serialisation 3). It is written here without
importing Feast, which takes 5 s and 206 MB: a restarted ingester is back at work in a second. Tests hold the bytes
equal to those of Feast's own `online_write_batch`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import mmh3
from google.protobuf.timestamp_pb2 import Timestamp

from features.config import AppConfig
from features.feature_topics import DECLARED_KIND, TOPIC_BY_VIEW, FeatureRow, FieldKind, FieldValue
from protos import online_rows_pb2 as rows_pb2

_STRING = 2
"""Feast's `ValueType.STRING`."""
_STRING_LIST_TAG, _INT64_LIST_TAG, _DOUBLE_LIST_TAG = b"\x62", b"\x72", b"\x7a"
"""Protobuf's tags of the fields 12, 14 and 15 of `Value` in `protos/online_rows.proto`."""
_LIST_TAG = b"\x0a"
"""The one field of the list messages."""


@dataclass(slots=True)
class EncodedRow:
    """One row as it goes to Redis and into the log: bytes, so that what it was decoded from can be forgotten."""

    view: str
    entity_id: str
    event_time_ms: int
    consumed: Mapping[str, int]
    """item_id -> newest event time, for the user's consumed set."""
    names: Sequence[str]
    """Feast field names, shared by rows of one layout."""
    values: Sequence[bytes]
    """Of each field what Feast stores; empty where it is missing."""
    head: bytes
    """The packed HSET up to the version."""
    tail: bytes
    """The packed HSET behind the version."""


def feast_project(app: AppConfig) -> str:
    """Return the Feast project of an app; Feast allows no dashes in it."""
    return app.name.replace("-", "_")


class FeastRows:
    """Turns feature rows into what Feast reads from Redis.

    Args:
        project: the Feast project; it ends every key.
    """

    def __init__(self, project: str) -> None:
        self._project = project.encode()
        self._prefixes: dict[str, bytes] = {}
        self._layouts: dict[tuple[str, ...], _HashLayout] = {}

    def key(self, view: str, entity_id: str) -> bytes:
        """Return the Redis key of an entity's hash; all views of the entity share it."""
        join_key = TOPIC_BY_VIEW[view].join_key
        prefix = self._prefixes.get(join_key)
        if prefix is None:
            name = join_key.encode()
            prefix = struct.pack("<III", 1, _STRING, len(name)) + name + struct.pack("<I", _STRING)
            self._prefixes[join_key] = prefix
        entity = entity_id.encode()
        return b"%b%b%b%b" % (prefix, len(entity).to_bytes(4, "little"), entity, self._project)

    def mapping(self, row: FeatureRow, version_ms: int) -> Mapping[bytes, bytes]:
        """Return the hash fields that write `row` at `version_ms`."""
        layout = self._layout(row)
        return dict(zip(layout.names, [encode_version(version_ms), *layout.encode(row)], strict=True))

    def encode(self, row: FeatureRow) -> EncodedRow:
        """Return the bytes of a row but its version, which it gets when it is written."""
        layout = self._layout(row)
        values = layout.encode(row)
        parts: list[Any] = []
        for value in values:
            parts += (len(value), value)
        key = self.key(row.view, row.entity_id)
        head, tail = layout.head % (len(key), key), layout.tail % tuple(parts)
        return EncodedRow(row.view, row.entity_id, row.event_time_ms, row.consumed, layout.fields, values, head, tail)

    def _layout(self, row: FeatureRow) -> _HashLayout:
        names = (row.view, *row.fields)
        layout = self._layouts.get(names)
        if layout is None:
            kinds = TOPIC_BY_VIEW[row.view].fields
            fields = {name: kinds.get(name, DECLARED_KIND) for name in row.fields}
            layout = self._layouts[names] = _HashLayout(row.view, fields)
        return layout


class _HashLayout:
    """What all rows of a view have in common in Redis: names of the hash fields, and the command around the values.

    `head % (len(key), key)`, the version and `tail % (len(value), value, ...)` are an HSET in Redis' protocol.
    """

    def __init__(self, view: str, fields: Mapping[str, FieldKind]) -> None:
        self.fields = tuple(fields)
        self.names = [version_field(view), *(_hashed_name(view, field) for field in fields)]
        self._encoders = [(field, _ENCODERS[kind]) for field, kind in fields.items()]
        # Two formatting calls a row: a third of the time of packing its arguments one by one.
        version, *others = (b"$%d\r\n%b\r\n" % (len(name), name.replace(b"%", b"%%")) for name in self.names)
        self.head = b"*%d\r\n$4\r\nHSET\r\n$%%d\r\n%%b\r\n%b" % (2 + 2 * len(self.names), version)
        self.tail = b"".join(name + b"$%d\r\n%b\r\n" for name in others)

    def encode(self, row: FeatureRow) -> list[bytes]:
        """Return the bytes of every field; None becomes the empty value that Feast reads as missing."""
        fields = row.fields
        return [
            b"" if (value := fields[name]) is None else encode_present(value) for name, encode_present in self._encoders
        ]


def _hashed_name(view: str, field: str) -> bytes:
    return struct.pack("<I", mmh3.hash(f"{view}:{field}", signed=False))


def version_field(view: str) -> bytes:
    """Return the hash field that holds the row version of `view`, Feast's event timestamp."""
    return f"_ts:{view}".encode()


def encode_version(version_ms: int) -> bytes:
    """Return Feast's bytes for an event timestamp in milliseconds."""
    return Timestamp(seconds=version_ms // 1000, nanos=version_ms % 1000 * 1_000_000).SerializeToString()


def version_argument(version_ms: int) -> bytes:
    """Return the packed argument between the head and the tail of a row's HSET."""
    version = encode_version(version_ms)
    return b"$%d\r\n%b\r\n" % (len(version), version)


def decode_version(stored: bytes | None) -> int:
    """Return the stored row version in milliseconds, rounded up; 0 where there is none."""
    if not stored:
        return 0
    timestamp = Timestamp.FromString(stored)
    return timestamp.seconds * 1000 + -(-timestamp.nanos // 1_000_000)


def encode_value(kind: FieldKind, value: FieldValue) -> bytes:
    """Return the bytes of one feature value; None becomes the empty value that Feast reads as missing."""
    return b"" if value is None else _ENCODERS[kind](value)


def _varint(number: int) -> bytes:
    """Return protobuf's variable-length bytes of a number of 0 or more."""
    return _SHORT_VARINTS[number] if number < len(_SHORT_VARINTS) else _long_varint(number)


def _long_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_SHORT_VARINTS = tuple(map(_long_varint, range(4096)))
"""Most are lengths."""


@cache
def _doubles_layout(length: int) -> tuple[bytes, Callable[..., bytes]]:
    """Return what stands before `length` doubles, and the packer of them; lists of a view have few lengths."""
    body = _LIST_TAG + _varint(8 * length) if length else b""
    return _DOUBLE_LIST_TAG + _varint(len(body) + 8 * length) + body, struct.Struct(f"<{length}d").pack


def _encode_doubles(value: Sequence[float]) -> bytes:
    prefix, pack = _doubles_layout(len(value))
    return prefix + pack(*value)


def _encode_int64s(value: Sequence[int]) -> bytes:
    try:
        packed = bytes(value)  # Below 128 a number is its own varint: outcomes are 0, 1 and 2.
    except ValueError:
        is_small = False
    else:
        is_small = packed.isascii()
    if is_small:
        body = _LIST_TAG + _varint(len(packed)) + packed if packed else b""
    else:
        body = rows_pb2.Int64List(val=value).SerializeToString()
    return _INT64_LIST_TAG + _varint(len(body)) + body


def _encode_strings(value: Sequence[str]) -> bytes:
    packed = rows_pb2.StringList(val=value).SerializeToString()
    return _STRING_LIST_TAG + _varint(len(packed)) + packed


def _encode_int64(value: int) -> bytes:
    return rows_pb2.Value(int64_val=value).SerializeToString()


# Doubles and small whole numbers by hand, the others by protobuf, whichever is faster. To remember the bytes of texts
# takes longer than to make them: 20,000 do not stay in the processor's cache.
_ENCODERS: Mapping[FieldKind, Callable[[Any], bytes]] = {
    "int64": _encode_int64,
    "int64_list": _encode_int64s,
    "double_list": _encode_doubles,
    "string_list": _encode_strings,
}
