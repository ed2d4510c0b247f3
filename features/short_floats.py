"""Float32 numbers as the shortest decimals that read back exactly, as JSON, written without a Python object a number.

A float32 needs at most nine digits, but its double prints with seventeen: this halves a record.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled

_POWERS = np.array([float(f"1e{power}") for power in range(309)])
"""Nearest doubles: numpy's power is off by a bit for large ones."""
_LONGEST = 16
"""Bytes of the longest number and its comma: a sign, nine digits, a point, and an exponent of two digits."""
_LEAST_PLAIN, _MOST_PLAIN = -5, 9
"""Powers of ten between which numbers are written without an exponent."""
_MINUS, _POINT, _COMMA, _ZERO, _E = b"-.,0e"
_OPEN, _CLOSE = b"[]"
_NULL = np.frombuffer(b"null", dtype=np.uint8)


def json_rows(values: NDArray[np.float32]) -> list[bytes]:
    """Return every row of `values` (n, F) as a JSON array; what is not finite becomes null."""
    text = np.empty(len(values) * (2 + _LONGEST * values.shape[1]), dtype=np.uint8)
    ends = np.zeros(len(values) + 1, dtype=np.int64)
    _write_rows(np.ascontiguousarray(values), _POWERS, text, ends)
    written, bounds = text[: ends[-1]].tobytes(), ends.tolist()
    return [written[start:end] for start, end in pairwise(bounds)]


@compiled
def _write_rows(
    values: NDArray[np.float32], powers: NDArray[np.float64], text: NDArray[np.uint8], ends: NDArray[np.int64]
) -> None:
    at = 0
    for row in range(len(values)):
        text[at] = _OPEN
        at += 1
        for column in range(values.shape[1]):
            if column:
                text[at] = _COMMA
                at += 1
            at = _write_number(values[row, column], powers, text, at)
        text[at] = _CLOSE
        at += 1
        ends[row + 1] = at


@compiled
def _write_number(value: float, powers: NDArray[np.float64], text: NDArray[np.uint8], at: int) -> int:
    """Write one number; return where it ends."""
    wide = np.float64(value)
    if not math.isfinite(wide):
        text[at : at + 4] = _NULL
        return at + 4
    if wide < 0.0 or (wide == 0.0 and math.copysign(1.0, wide) < 0.0):
        text[at] = _MINUS
        at += 1
        wide = -wide
    if wide == 0.0:
        return _write_digits(0, 1, 0, text, at)
    exponent = _power_of(float(wide), powers)
    digits, size = _shortest(float(wide), exponent, powers)
    if digits == _whole_power(size):  # Rounded up to the next power of ten.
        digits, exponent = digits // 10, exponent + 1
    while digits % 10 == 0 and size > 1:
        digits, size = digits // 10, size - 1
    return _write_digits(digits, size, exponent, text, at)


@compiled
def _power_of(wide: float, powers: NDArray[np.float64]) -> int:
    """Return the power of ten at or below a positive number that a float32 can hold."""
    binary = ((np.float64(wide).view(np.int64) >> 52) & 2047) - 1023
    power = (binary * 1233) >> 12  # 1233 / 4096 is log10(2), a little less: right, or one too small.
    above = power + 1
    is_above = wide >= powers[above] if above >= 0 else wide * powers[-above] >= 1.0
    return int(power + 1) if is_above else int(power)


@compiled
def _shortest(wide: float, exponent: int, powers: NDArray[np.float64]) -> tuple[int, int]:
    """Return the fewest digits, six or more, that read back as the same float32, and how many they are."""
    for size in range(6, 9):
        places = size - 1 - exponent
        # Multiplying and dividing by a whole power of ten keeps the quotient the double nearest to that decimal.
        if places >= 0:
            digits = np.rint(wide * powers[places])
            is_equal = np.float32(digits / powers[places]) == np.float32(wide)
        else:
            digits = np.rint(wide / powers[-places])
            is_equal = np.float32(digits * powers[-places]) == np.float32(wide)
        if is_equal:
            return int(digits), size
    places = 8 - exponent
    return int(np.rint(wide * powers[places] if places >= 0 else wide / powers[-places])), 9


@compiled
def _whole_power(power: int) -> int:
    whole = 1
    for _ in range(power):
        whole *= 10
    return whole


@compiled
def _write_digits(digits: int, size: int, exponent: int, text: NDArray[np.uint8], at: int) -> int:
    """Write `size` digits, the first of which counts `10^exponent`."""
    is_plain = _LEAST_PLAIN < exponent < _MOST_PLAIN
    before = exponent + 1 if is_plain else 1
    if before <= 0:  # 0.00ddd
        text[at], text[at + 1] = _ZERO, _POINT
        for place in range(at + 2, at + 2 - before):
            text[place] = _ZERO
        start = at + 2 - before
        for place in range(start + size - 1, start - 1, -1):
            text[place] = _ZERO + digits % 10
            digits //= 10
        return start + size
    after = max(size - before, 1)
    for _ in range(before + after - size):  # 5.0, and 1200.0 of two digits.
        digits *= 10
    for place in range(at + before + after, at + before, -1):
        text[place] = _ZERO + digits % 10
        digits //= 10
    text[at + before] = _POINT
    for place in range(at + before - 1, at - 1, -1):
        text[place] = _ZERO + digits % 10
        digits //= 10
    at += before + after + 1
    return at if is_plain else _write_exponent(exponent, text, at)


@compiled
def _write_exponent(exponent: int, text: NDArray[np.uint8], at: int) -> int:
    text[at] = _E
    at += 1
    if exponent < 0:
        text[at] = _MINUS
        at, exponent = at + 1, -exponent
    text[at], text[at + 1] = _ZERO + exponent // 10, _ZERO + exponent % 10
    return at + 2
