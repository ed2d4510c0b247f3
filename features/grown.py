"""Tables that grow: the one place that says by how much, and that begins with nothing as well as with something."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

_FEWEST = 64


def grown(array: NDArray[Scalar], size: int, fill: int = 0, by: float = 2.0) -> NDArray[Scalar]:
    """Return the array itself where it has `size` rows, else a copy with room for as many and some to come.

    Args:
        array: (rows, ...)
        size: rows wanted.
        fill: what new rows hold.
        by: how many times as many rows there are then at least, so that growth costs little a row.
    """
    if size <= len(array):
        return array
    made = np.full((max(size, _FEWEST, int(by * len(array))), *array.shape[1:]), fill, dtype=array.dtype)
    made[: len(array)] = array
    return made
