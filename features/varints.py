"""Whole numbers of variable length, as protobuf and Kafka write them, for compiled loops over bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import compiled

_BEYOND = 2**40
"""A place behind the end of all data, and far from overflow."""


@compiled
def read_varint(data: Any, at: int) -> tuple[int, int]:
    """Return the number that begins at a place of `data` (N,) uint8, and where it ends.

    Where the data end before it does, that is far behind their end.
    """
    number = shift = 0
    while 0 <= at < len(data) and shift < 70:
        digit = np.int64(data[at])
        at += 1
        if shift < 64:
            number |= int(digit & 0x7F) << shift
        if digit < 0x80:
            return number, at
        shift += 7
    return 0, _BEYOND


@compiled
def read_zigzag(data: Any, at: int) -> tuple[int, int]:
    """Return a number whose sign is its lowest bit, else as `read_varint`."""
    number, end = read_varint(data, at)
    return (number >> 1) ^ -(number & 1), end
