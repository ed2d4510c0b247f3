"""Co-visitation: which item follows which, as the strongest neighbours of every item row.

A pair (a, b) gains weight when a user who lately had an event with `a` has a positive event with `b`.
`scores` turns it into P(b | the user's last items), the strongest simple method on both data sets at hand.
Letters: `N` items, `K` neighbours, `W` windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOWS = (1, 5, 20)
"""Lengths of the history that `scores` looks at."""


class CoVisitation:
    """Pair counts bounded to `num_neighbours` per item; a newcomer replaces the weakest neighbour.

    Args:
        num_neighbours: neighbours kept per item.
    """

    def __init__(self, num_neighbours: int) -> None:
        self.num_items = 0
        self._neighbours = np.full((0, num_neighbours), -1, dtype=np.int32)
        self._weights = np.zeros((0, num_neighbours), dtype=np.float32)
        self._totals = np.zeros(0, dtype=np.float32)

    @classmethod
    def from_arrays(
        cls, neighbours: NDArray[np.int32], weights: NDArray[np.float32], totals: NDArray[np.float32]
    ) -> CoVisitation:
        """Wrap arrays as `neighbours`, `weights` and `totals` return them, without a copy.

        Raises:
            ValueError: the shapes do not belong together.
        """
        if neighbours.shape != weights.shape or totals.shape != neighbours.shape[:1]:
            raise ValueError(
                f"co-visitation arrays of shapes {neighbours.shape}, {weights.shape} and {totals.shape} "
                "do not belong together; they must be (N, K), (N, K) and (N,)"
            )
        table = cls(num_neighbours=0)
        table._take(neighbours, weights, totals)
        return table

    @property
    def neighbours(self) -> NDArray[np.int32]:
        """Neighbour rows, shape (N, K), -1 where empty."""
        return self._neighbours[: self.num_items]

    @property
    def weights(self) -> NDArray[np.float32]:
        """Pair weights, shape (N, K)."""
        return self._weights[: self.num_items]

    @property
    def totals(self) -> NDArray[np.float32]:
        """Times an item stood before a positive event, shape (N,)."""
        return self._totals[: self.num_items]

    def add(self, previous_rows: NDArray[np.int64], row: int) -> None:
        """Count a positive event on `row` by a user whose latest items are `previous_rows`, newest first."""
        previous = np.unique(previous_rows[: WINDOWS[-1]])
        previous = previous[(previous >= 0) & (previous != row)]
        self._ensure(max([row, *previous.tolist()]) + 1)
        if not len(previous):
            return
        self._totals[previous] += 1.0
        found = self._neighbours[previous] == row  # (P, K)
        slots = np.where(found.any(axis=1), found.argmax(axis=1), self._weights[previous].argmin(axis=1))
        kept = np.where(found.any(axis=1), self._weights[previous, slots], np.float32(0.0))
        self._neighbours[previous, slots] = row
        self._weights[previous, slots] = kept + 1.0

    def scores(self, history_rows: NDArray[np.int64], num_items: int) -> NDArray[np.float64]:
        """Return P(next item | last 1, 5, 20 items), shape (W, num_items); history newest first, -1 unknown."""
        scores = np.zeros((len(WINDOWS), num_items))
        start = 0
        for index, window in enumerate(WINDOWS):
            if index:
                scores[index] = scores[index - 1]
            self._add_scores(scores[index], history_rows[start:window])
            start = window
        sizes = np.minimum(np.array(WINDOWS), max(1, len(history_rows)))
        return np.asarray(scores / sizes[:, None])

    def similar(self, row: int, num_items: int) -> NDArray[np.float64]:
        """Return P(next item | `row`), shape (num_items,)."""
        scores = np.zeros(num_items)
        self._add_scores(scores, np.array([row], dtype=np.int64))
        return scores

    def _add_scores(self, scores: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        rows = rows[(rows >= 0) & (rows < self.num_items)]
        if not len(rows):
            return
        neighbours = self._neighbours[rows].ravel()
        weights = (self._weights[rows] / np.maximum(self._totals[rows], 1.0)[:, None]).ravel()
        used = (neighbours >= 0) & (neighbours < len(scores))
        scores += np.bincount(neighbours[used], weights=weights[used], minlength=len(scores))

    def _take(self, neighbours: NDArray[np.int32], weights: NDArray[np.float32], totals: NDArray[np.float32]) -> None:
        self.num_items = len(totals)
        self._neighbours, self._weights, self._totals = neighbours, weights, totals

    def _ensure(self, num_items: int) -> None:
        """Grow to `num_items` rows, doubling the capacity."""
        while num_items > len(self._totals):
            size = max(64, len(self._totals))
            width = self._neighbours.shape[1]
            self._neighbours = np.concatenate([self._neighbours, np.full((size, width), -1, dtype=np.int32)])
            self._weights = np.concatenate([self._weights, np.zeros((size, width), dtype=np.float32)])
            self._totals = np.concatenate([self._totals, np.zeros(size, dtype=np.float32)])
        self.num_items = max(self.num_items, num_items)
