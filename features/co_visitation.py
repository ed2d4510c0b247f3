"""Co-visitation: which item goes with which, as the strongest neighbours of every item row.

A pair (a, b) gains weight when a user who lately had an event with `a` has one with `b` that is not negative, and
where pairs count both ways (b, a) does too. Divided by the weight of all pairs that begin with `a` it is P(b | a), the
strongest simple method on both data sets at hand.
Letters: `N` items, `K` neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled
from features.grown import grown
from features.touched_rows import TouchedRows


class Pairs(NamedTuple):
    """The arrays of a `CoVisitation`, as compiled code takes them."""

    neighbours: NDArray[np.int32]
    """(N, K) neighbour rows, -1 where empty: empty places come last."""
    weights: NDArray[np.float32]
    """(N, K)"""
    totals: NDArray[np.float32]
    """(N,) weight of all pairs that begin with an item, those that gave way too."""


class CoVisitation:
    """Pair counts bounded to `num_neighbours` per item; a newcomer replaces the weakest neighbour.

    Args:
        num_neighbours: neighbours kept per item.
    """

    def __init__(self, num_neighbours: int) -> None:
        self.num_items = 0
        self._neighbours = np.full((64, num_neighbours), -1, dtype=np.int32)
        self._weights = np.zeros((64, num_neighbours), dtype=np.float32)
        self._totals = np.zeros(64, dtype=np.float32)
        self.touched = TouchedRows()

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
        table.num_items = len(totals)
        table._neighbours, table._weights, table._totals = neighbours, weights, totals
        return table

    @property
    def pairs(self) -> Pairs:
        """All rows; a view that `add` changes."""
        size = self.num_items
        return Pairs(self._neighbours[:size], self._weights[:size], self._totals[:size])

    @property
    def neighbours(self) -> NDArray[np.int32]:
        """Neighbour rows, shape (N, K), -1 where empty."""
        return self.pairs.neighbours

    @property
    def weights(self) -> NDArray[np.float32]:
        """Pair weights, shape (N, K)."""
        return self.pairs.weights

    @property
    def totals(self) -> NDArray[np.float32]:
        """Times an item stood before a positive event, shape (N,)."""
        return self.pairs.totals

    def add(self, previous_rows: NDArray[np.int64], row: int, backward: float = 0.0) -> None:
        """Count an event on `row` by a user whose latest items are `previous_rows` (each counts once).

        Args:
            previous_rows: newest first, -1 is passed over.
            row: what came next.
            backward: what the same pair counts the other way round, as one that begins with `row`.
        """
        self.reserve(max(row, int(previous_rows.max(initial=-1))) + 1)
        tables = self._neighbours, self._weights, self._totals, self.touched.marks
        _add_pairs(*tables, previous_rows, row, np.float32(backward))

    def add_events(
        self, previous_rows: NDArray[np.int64], ends: NDArray[np.int64], rows: NDArray[np.int64], backward: float = 0.0
    ) -> None:
        """Count many events in their order, as `add` of each would.

        Args:
            previous_rows: those of all events end to end, each newest first.
            ends: (n,) where those of each end.
            rows: (n,) what came next.
            backward: see `add`.
        """
        self.reserve(max(int(rows.max(initial=-1)), int(previous_rows.max(initial=-1))) + 1)
        tables = self._neighbours, self._weights, self._totals, self.touched.marks
        _add_events(*tables, previous_rows, ends, rows, np.float32(backward))

    def similar(self, row: int, num_items: int) -> NDArray[np.float64]:
        """Return P(next item | `row`), shape (num_items,)."""
        scores = np.zeros(num_items)
        if not 0 <= row < self.num_items:
            return scores
        used = (self._neighbours[row] >= 0) & (self._neighbours[row] < num_items)
        scores[self._neighbours[row][used]] = self._weights[row][used] / max(float(self._totals[row]), 1.0)
        return scores

    def reserve(self, num_items: int) -> None:
        """Grow to `num_items` rows, doubling the capacity."""
        self.touched.reserve(num_items)  # Tables that came as arrays have rows, and no marks.
        if num_items <= self.num_items:
            return
        self._neighbours = grown(self._neighbours, num_items, fill=-1)
        self._weights = grown(self._weights, num_items)
        self._totals = grown(self._totals, num_items)
        self.num_items = num_items


@compiled
def _add_events(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    totals: NDArray[np.float32],
    marks: NDArray[np.bool_],
    previous_rows: NDArray[np.int64],
    ends: NDArray[np.int64],
    rows: NDArray[np.int64],
    backward: np.float32,
) -> None:
    start = 0
    for event in range(len(rows)):
        of_event = previous_rows[start : ends[event]]
        _add_pairs(neighbours, weights, totals, marks, of_event, rows[event], backward)
        start = ends[event]


@compiled
def _add_pairs(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    totals: NDArray[np.float32],
    marks: NDArray[np.bool_],
    previous_rows: NDArray[np.int64],
    row: int,
    backward: np.float32,
) -> None:
    for place in range(len(previous_rows)):
        previous = previous_rows[place]
        is_repeated = False
        for earlier in range(place):
            is_repeated |= previous_rows[earlier] == previous
        if previous < 0 or previous == row or is_repeated:
            continue
        _add_pair(neighbours, weights, totals, marks, previous, row, np.float32(1.0))
        if backward > 0.0:
            _add_pair(neighbours, weights, totals, marks, row, previous, backward)


@compiled
def _add_pair(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    totals: NDArray[np.float32],
    marks: NDArray[np.bool_],
    first: int,
    second: int,
    weight: np.float32,
) -> None:
    totals[first] += weight
    marks[first] = True
    slot, weakest = -1, 0
    for k in range(neighbours.shape[1]):
        if neighbours[first, k] == second or neighbours[first, k] < 0:
            slot = k
            break
        if weights[first, k] < weights[first, weakest]:
            weakest = k
    if slot < 0:
        slot = weakest
    kept = weights[first, slot] if neighbours[first, slot] == second else np.float32(0.0)
    neighbours[first, slot] = second
    weights[first, slot] = kept + weight
