"""Rows by id, and rows by last use: both change by small steps, however many there are.

Letters: `N` rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_SHARDS = 256
"""A dictionary of 10^6 ids takes a tenth of a second to double. As many small ones double at different times, a
millisecond each at most."""


class IdMap:
    """Id -> row in many small dictionaries."""

    def __init__(self) -> None:
        self._shards: list[dict[str, int]] = [{} for _ in range(_SHARDS)]

    def __contains__(self, id_: str) -> bool:
        return id_ in self._shards[hash(id_) % _SHARDS]

    def __setitem__(self, id_: str, row: int) -> None:
        self._shards[hash(id_) % _SHARDS][id_] = row

    def __delitem__(self, id_: str) -> None:
        del self._shards[hash(id_) % _SHARDS][id_]

    def copy(self) -> IdMap:
        """Return a second map that goes on by itself."""
        made = IdMap()
        made._shards = [shard.copy() for shard in self._shards]
        return made

    def row_of(self, id_: str) -> int:
        """Return the row of an id, -1 where there is none."""
        return self._shards[hash(id_) % _SHARDS].get(id_, -1)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of ids, (len(ids),), -1 where there is none."""
        shards = self._shards
        return np.fromiter((shards[hash(id_) % _SHARDS].get(id_, -1) for id_ in ids), dtype=np.int64, count=len(ids))


class UseOrder:
    """Rows from the least to the most recently used: a doubly linked list in two arrays.

    Node `row + 1` stands for a row and node 0 for both ends.
    """

    def __init__(self) -> None:
        self._before, self._after = array("q", [0]), array("q", [0])

    def __len__(self) -> int:
        return len(self._after) - 1

    def __iter__(self) -> Iterator[int]:
        node = self._after[0]
        while node:
            yield node - 1
            node = self._after[node]

    def oldest(self, count: int) -> list[int]:
        """Return the `count` rows that were not used for longest."""
        return list(islice(self, count))

    def append(self) -> None:
        """Add the row behind the last one, as the one used last."""
        self._before.append(0)
        self._after.append(0)
        self._link(len(self))

    def use(self, row: int) -> None:
        """Let a row be the one used last."""
        self._unlink(row + 1)
        self._link(row + 1)

    def remove(self, gone: Sequence[int], holes: Sequence[int], moved: Sequence[int]) -> None:
        """Take rows out; rows `moved` from the end take the numbers `holes`, with their place in the order."""
        for row in gone:
            self._unlink(row + 1)
        for hole, row in zip(holes, moved, strict=True):
            before, after = self._before[row + 1], self._after[row + 1]
            self._before[hole + 1], self._after[hole + 1] = before, after
            self._after[before] = self._before[after] = hole + 1
        del self._before[len(self._before) - len(gone) :], self._after[len(self._after) - len(gone) :]

    def links(self) -> NDArray[np.int64]:
        """Return a copy of the order as it is kept, (2, N + 1)."""
        return np.array([self._before, self._after], dtype=np.int64)

    def restore(self, links: NDArray[np.int64]) -> None:
        """Take over what `links` returned."""
        self._before, self._after = array("q", links[0].tobytes()), array("q", links[1].tobytes())

    def _link(self, node: int) -> None:
        newest = self._before[0]
        self._before[node], self._after[node] = newest, 0
        self._after[newest] = self._before[0] = node

    def _unlink(self, node: int) -> None:
        before, after = self._before[node], self._after[node]
        self._after[before], self._before[after] = after, before
