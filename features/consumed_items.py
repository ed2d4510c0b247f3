"""The items a user had an event with: one Redis sorted set per user, member item_id, score event_time_ms."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

_THIRTEEN_DIGITS = 10**12, 10**13 - 1
"""Milliseconds between 2001 and 2286."""


def consumed_key(name: str, user_id: str) -> str:
    """Return the key of a user's set; `name` is the app's."""
    return f"headrace:{name}:consumed:{user_id}"


def consumed_commands(name: str, user_id: str, consumed: Mapping[str, int], limit: int) -> bytes:
    """Return the two packed commands that add items (item_id -> event_time_ms) and keep the newest `limit`.

    `consumed` must not be empty.
    """
    key = consumed_key(name, user_id).encode()
    argument = b"$%d\r\n%b\r\n" % (len(key), key)
    scores = _packed_scores(consumed)
    bound = b"%d" % -(limit + 1)
    return b"*%d\r\n$4\r\nZADD\r\n%b%b*4\r\n$15\r\nZREMRANGEBYRANK\r\n%b$1\r\n0\r\n$%d\r\n%b\r\n" % (
        2 + 2 * len(consumed),
        argument,
        scores,
        argument,
        len(bound),
        bound,
    )


def _packed_scores(consumed: Mapping[str, int]) -> bytes:
    """Return the arguments of ZADD: score, member, score, member, ..."""
    times_ms = consumed.values()
    lowest, highest = _THIRTEEN_DIGITS
    if lowest <= min(times_ms) and max(times_ms) <= highest:
        parts = tuple(chain.from_iterable(zip(times_ms, map(len, consumed), consumed, strict=True)))
        packed = "$13\r\n%d\r\n$%d\r\n%s\r\n" * len(consumed) % parts
        if packed.isascii():  # Else a text has more bytes than characters.
            return packed.encode()
    return b"".join(_packed_score(item_id.encode(), b"%d" % time_ms) for item_id, time_ms in consumed.items())


def _packed_score(member: bytes, score: bytes) -> bytes:
    return b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(score), score, len(member), member)
