"""Which rows are near a user's vector: what an index says, and every row that has moved since it was made.

Deltas change a version's vectors twice a second, an index is made anew much less often. Steps of learning are small, so
most vectors stay near where the index has them. One that came or moved far is left out of what the index says and
looked at for every list: an item is found by its new vector right behind its delta.
Letters: `N` items, `D` embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.grown import grown
from serving.tower_index import TowerIndex

_NO_ROWS: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
_FAR = 0.05
"""Of the length of a vector, root mean square over all: with each moved so far recall falls by less than .01."""
_MOST_MOVED = 0.1
"""Share of rows beyond which all products are as quick: vectors of single rows are fetched one by one."""
_AT_ONCE = 65_536
"""Rows that are compared at once, so that a delta of all vectors takes no second copy of them."""


class VectorsThen:
    """Item vectors as they were when an index was made of them, and the rows that have come or moved since.

    Args:
        vectors: (N, D); nobody writes into them.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self.index: TowerIndex | None = None
        """None while it is made, and where all products are as quick."""
        self.moved: NDArray[np.int64] = _NO_ROWS
        """(any,) each once."""
        self._is_moved: NDArray[np.bool_] = np.zeros(len(vectors), dtype=np.bool_)
        self._far_square = _FAR**2 * float(np.vdot(vectors, vectors)) / max(1, len(vectors))

    def far_rows(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return those rows whose vectors are far from what they were, or were none, (any,); in any thread.

        Args:
            rows: (c,)
            vectors: (N, D) of all items as they are now.
        """
        parts = []
        for first in range(0, len(rows), _AT_ONCE):
            part = rows[first : first + _AT_ONCE]
            is_known = part < len(self.vectors)
            known = part[is_known]
            steps = vectors[known] - self.vectors[known]
            is_far = ~is_known
            is_far[is_known] = np.einsum("rd,rd->r", steps, steps) > self._far_square
            parts.append(part[is_far])
        return np.concatenate(parts) if parts else _NO_ROWS

    def add(self, rows: NDArray[np.int64], num_items: int) -> None:
        """Take rows in that have moved, of a version of so many items."""
        self._is_moved = grown(self._is_moved, num_items, by=1.5)
        new = np.unique(rows[~self._is_moved[rows]])
        self._is_moved[new] = True
        self.moved = np.concatenate((self.moved, new))

    def near(self, user_vector: NDArray[np.float32], wanted: int) -> NDArray[np.int64] | None:
        """Return different rows that are near, (any,), None where all must be looked at."""
        if self.index is None or len(self.moved) > _MOST_MOVED * len(self.vectors):
            return None
        if not wanted:  # Time is short; scores of the pool are.
            return _NO_ROWS
        found = self.index.near_rows(user_vector, wanted)
        return np.concatenate((found[~self._is_moved[found]], self.moved)) if len(self.moved) else found


Moved = Sequence[tuple[VectorsThen, NDArray[np.int64]]]
"""(since when, rows that have moved far since)."""


class NearRows:
    """What is near in one chain of versions. All but `moved` is for the event loop alone."""

    def __init__(self) -> None:
        self.num_items = 0
        """Of the newest version that was told of."""
        self.then: VectorsThen | None = None
        """Vectors with their index; None where there is none: all rows must be looked at."""
        self._next: VectorsThen | None = None
        """Of the index that is in the making."""

    @property
    def index(self) -> TowerIndex | None:
        """What is asked; None where all products are."""
        return None if self.then is None else self.then.index

    @property
    def num_bytes(self) -> int:
        """Memory of the index, and of the vectors that it was made of."""
        then, index = self.then, self.index
        return 0 if then is None or index is None else index.num_bytes + then.vectors.nbytes

    @property
    def num_moved(self) -> int:
        """Rows that are looked at beside what the index says."""
        return 0 if self.then is None else len(self.then.moved)

    def of(self, user_vector: NDArray[np.float32], num_items: int, wanted: int) -> NDArray[np.int64] | None:
        """Return different rows that are near, (any,), None where all must be looked at.

        Args:
            user_vector: (D,)
            num_items: of the version that answers.
            wanted: how many of the nearest are.
        """
        found = None if self.then is None else self.then.near(user_vector, wanted)
        if found is None or self.num_items <= num_items:
            return found
        return found[found < num_items]  # A delta that is not served was told of.

    def moved(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> Moved:
        """Say which rows of a delta have moved far, for `note`; in a worker, while no index is begun."""
        begun, then = self._next, self.then  # In this order: what is taken over meanwhile is looked at twice.
        return [(one, one.far_rows(rows, vectors)) for one in (begun, then) if one is not None]

    def note(self, moved: Moved, num_items: int) -> None:
        """Take in what `moved` said, of a version of so many items; those that came are among it."""
        came = np.arange(self.num_items, num_items)
        self.num_items = max(self.num_items, num_items)
        for one, rows in moved:
            one.add(np.concatenate((rows, came)), self.num_items)

    def begin(self, vectors: NDArray[np.float32]) -> VectorsThen:
        """Begin an index of the vectors as they are now, (N, D); they are the caller's own copy."""
        self._next, self.num_items = VectorsThen(vectors), max(self.num_items, len(vectors))
        return self._next

    def take_over(self, begun: VectorsThen, index: TowerIndex | None) -> None:
        """Go on with the index that was begun; without any where there is none."""
        begun.index = index
        self.then, self._next = None if index is None else begun, None
