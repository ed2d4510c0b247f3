"""Float32 numbers as the shortest decimals that read back exactly, for JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled

_POWERS = np.array([float(f"1e{power}") for power in range(309)])
"""Nearest doubles: numpy's power is off by a bit for large ones."""


def shorten_floats(values: NDArray[np.float32]) -> list[Any]:
    """Return the shortest decimal of every float32 as a float (nested like `values`); reading it back is exact.

    A float32 needs at most nine digits, but its double prints with seventeen: this halves a record.
    """
    shortest = np.empty(values.shape)
    _shorten(np.ascontiguousarray(values).ravel(), _POWERS, shortest.ravel())
    listed: list[Any] = shortest.tolist()
    return listed


@compiled
def _shorten(values: NDArray[np.float32], powers: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for index in range(len(values)):
        value = values[index]
        wide = np.float64(value)
        out[index] = wide
        if wide == 0.0 or not math.isfinite(wide):
            continue
        exponent = math.floor(math.log10(abs(wide)))
        for digits in range(6, 10):
            places = digits - 1 - exponent
            # Multiplying and dividing by a whole power of ten keeps the quotient the double nearest to that decimal.
            if places >= 0:
                rounded = np.rint(wide * powers[places]) / powers[places]
            else:
                rounded = np.rint(wide / powers[-places]) * powers[-places]
            if np.float32(rounded) == value:
                out[index] = rounded
                break
