"""The items a user had an event with: one Redis sorted set per user, member item_id, score event_time_ms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from features.compiled import compiled
from features.errors import BadRowError
from features.varints import read_varint

_ELEMENT = 0x0A
"""Protobuf's tag of a list's elements."""
_BYTES_PER_ITEM = 64
"""At most, of a packed score and what stands around an item."""


class ConsumedItems(NamedTuple):
    """Items with their times, as the arguments of ZADD."""

    num_items: int
    arguments: bytes
    """Packed: score, member, score, member, ... Of a member that stands twice the later score counts."""

    def before(self, later: ConsumedItems) -> ConsumedItems:
        """Return these and then later ones."""
        return ConsumedItems(self.num_items + later.num_items, self.arguments + later.arguments)


NO_ITEMS = ConsumedItems(0, b"")


def consumed_key(name: str, user_id: str) -> str:
    """Return the key of a user's set; `name` is the app's."""
    return f"headrace:{name}:consumed:{user_id}"


def consumed_commands(name: str, user_id: str, consumed: ConsumedItems, limit: int) -> bytes:
    """Return the two packed commands that add items and keep the newest `limit`; `consumed` must not be empty."""
    key = consumed_key(name, user_id).encode()
    argument = b"$%d\r\n%b\r\n" % (len(key), key)
    bound = b"%d" % -(limit + 1)
    return b"*%d\r\n$4\r\nZADD\r\n%b%b*4\r\n$15\r\nZREMRANGEBYRANK\r\n%b$1\r\n0\r\n$%d\r\n%b\r\n" % (
        2 + 2 * consumed.num_items,
        argument,
        consumed.arguments,
        argument,
        len(bound),
        bound,
    )


def pack_items(consumed: Mapping[str, int]) -> ConsumedItems:
    """Pack item_id -> event_time_ms, the newest first, as `pack_history` does."""
    newest_first = sorted(consumed.items(), key=lambda item: item[1], reverse=True)
    scores = (_packed_score(item_id.encode(), b"%d" % time_ms) for item_id, time_ms in newest_first)
    return ConsumedItems(len(consumed), b"".join(scores))


def _packed_score(member: bytes, score: bytes) -> bytes:
    return b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(score), score, len(member), member)


def pack_history(item_ids: bytes, times_ms: bytes) -> ConsumedItems:
    """Pack a history, newest first, of which an item's newest time counts.

    Args:
        item_ids: a string list as Feast keeps it.
        times_ms: an int64 list as long.

    Raises:
        BadRowError: they are not.
    """
    out = np.empty(len(item_ids) * (_BYTES_PER_ITEM // 2 + 1), dtype=np.uint8)
    count, size = _pack_history(np.frombuffer(item_ids, np.uint8), np.frombuffer(times_ms, np.uint8), out)
    if count < 0:
        raise BadRowError("the items of the history and their times are not two lists of one length")
    return ConsumedItems(count, out[:size].tobytes())


@compiled
def _pack_history(ids: Any, times: Any, out: Any) -> tuple[int, int]:
    """Write the newest score of every item, newest first: so Redis finds each place at the front of a short set.

    Returns:
        Items and bytes written; -1 items where the lists do not fit.
    """
    starts, sizes = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
    _, at = read_varint(ids, 1)
    _, time_at = read_varint(times, 1)
    if 0 <= time_at < len(times):
        _, time_at = read_varint(times, time_at + 1)
    count = size = 0
    while 0 <= at < len(ids) and 0 <= time_at < len(times) and ids[at] == _ELEMENT:
        length, start = read_varint(ids, at + 1)
        time_ms, time_at = read_varint(times, time_at)
        at = start + length
        if not start <= at <= len(ids) or time_ms < 0:
            return -1, 0
        if not _is_known(ids, start, length, starts, sizes, count):
            starts[count], sizes[count] = start, length
            count += 1
            size = _put_end(out, _put_number(out, _put_head(out, size, _digits(time_ms)), time_ms))
            size = _put_head(out, size, length)
            out[size : size + length] = ids[start:at]
            size = _put_end(out, size + length)
    return (count, size) if at == len(ids) and time_at == len(times) else (-1, 0)


@compiled
def _is_known(ids: Any, start: int, length: int, starts: Any, sizes: Any, count: int) -> bool:
    for known in range(count):
        if sizes[known] == length:
            place = 0
            while place < length and ids[start + place] == ids[starts[known] + place]:
                place += 1
            if place == length:
                return True
    return False


@compiled
def _digits(number: int) -> int:
    digits = 1
    while number >= 10:
        number //= 10
        digits += 1
    return digits


@compiled
def _put_number(out: Any, at: int, number: int) -> int:
    """Write a number of 0 or more in decimal digits; return where it ends, as all of these do."""
    end = at + _digits(number)
    for place in range(end - 1, at - 1, -1):
        out[place] = 0x30 + number % 10
        number //= 10
    return end


@compiled
def _put_head(out: Any, at: int, length: int) -> int:
    """Write what stands before an argument of `length` bytes in Redis' protocol."""
    out[at] = 0x24
    return _put_end(out, _put_number(out, at + 1, length))


@compiled
def _put_end(out: Any, at: int) -> int:
    out[at], out[at + 1] = 0x0D, 0x0A
    return at + 2
