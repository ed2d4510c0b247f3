"""Feast's bytes of values: `Value` of `protos/online_rows.proto`, written without importing Feast."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from features.feature_topics import FieldKind, FieldValue
from protos import online_rows_pb2 as rows_pb2

_STRING_LIST_TAG, _INT64_LIST_TAG, _DOUBLE_LIST_TAG = b"\x62", b"\x72", b"\x7a"
"""Protobuf's tags of the fields 12, 14 and 15 of `Value` in `protos/online_rows.proto`."""
_LIST_TAG = b"\x0a"
"""The one field of the list messages."""
LIST_TAGS: Mapping[FieldKind, bytes] = {
    "string_list": _STRING_LIST_TAG,
    "int64_list": _INT64_LIST_TAG,
    "double_list": _DOUBLE_LIST_TAG,
}
"""How the bytes of a list begin."""


def encode_value(kind: FieldKind, value: FieldValue) -> bytes:
    """Return the bytes of one feature value; None becomes the empty value that Feast reads as missing."""
    return b"" if value is None else ENCODERS[kind](value)


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


def encode_int64(value: int) -> bytes:
    """Return the bytes of one whole number."""
    return rows_pb2.Value(int64_val=value).SerializeToString()


# Doubles and small whole numbers by hand, the others by protobuf, whichever is faster. To remember the bytes of texts
# takes longer than to make them: 20,000 do not stay in the processor's cache.
ENCODERS: Mapping[FieldKind, Callable[[Any], bytes]] = {
    "int64": encode_int64,
    "int64_list": _encode_int64s,
    "double_list": _encode_doubles,
    "string_list": _encode_strings,
}
