"""Which rows of a growing table changed since somebody last asked: what a delta must look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.grown import grown


class TouchedRows:
    """A mark a row, one byte each."""

    def __init__(self) -> None:
        self.marks: NDArray[np.bool_] = np.zeros(64, dtype=np.bool_)
        """(capacity,) for compiled code, which sets marks itself; `reserve` first."""

    def reserve(self, size: int) -> None:
        """Give `size` rows a mark or more, by doubling."""
        self.marks = grown(self.marks, size)

    def take(self) -> NDArray[np.int64]:
        """Return the marked rows, ascending, and unmark them."""
        rows = np.flatnonzero(self.marks)
        self.marks[rows] = False
        return rows
