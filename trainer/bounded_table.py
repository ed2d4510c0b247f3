"""An embedding table with a hard bound: ids earn a row, and lose it when they stay away or room is needed.

At the bound the least recently used row goes first. The id it belonged to starts like any new one when it comes back:
its row is zeroed together with its optimiser state before another id takes it.
Letters: `N` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.embedding_table import EmbeddingTable
from trainer.id_map import UseOrder
from trainer.named_arrays import with_prefix
from trainer.sighting_filter import SightingFilter
from trainer.step_config import RowLimits

_MOST_EXPIRED = 256
"""Rows that expire at one call: after a long silence the many must not stall the one."""


class BoundedTable(EmbeddingTable):
    """Rows by id, at most `limits.max_rows` of them. Row numbers hold until the next `use_rows`.

    Args:
        embedding_dim: D.
        learning_rate: of the row-wise Adagrad.
        initial_scale: see `EmbeddingTable`.
        seed: of initial values and of the hash that counts sightings.
        device: where rows live.
        limits: bound, admission and expiry.
    """

    def __init__(
        self,
        embedding_dim: int,
        learning_rate: float,
        initial_scale: float,
        seed: int,
        device: str = "cpu",
        limits: RowLimits | None = None,
    ) -> None:
        super().__init__(embedding_dim, learning_rate, initial_scale, seed, device)
        self.limits = limits or RowLimits()
        self._order = UseOrder()
        self._last_use_ms: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._filter = SightingFilter(seed)
        self.admitted = self.expired = self.evicted = 0
        self._touched = torch.zeros(0, dtype=torch.bool, device=device)

    def use_rows(self, ids: Sequence[str], now_ms: int) -> NDArray[np.int64]:
        """Return the rows of ids that are about to be learnt, (len(ids),); -1 for one that must still earn its row.

        Args:
            ids: each mention is a sighting.
            now_ms: stream time; never falls.
        """
        self._expire(now_ms)
        admitted = self._admitted(ids)
        known = [row for row in dict.fromkeys(self.rows_of(ids).tolist()) if row >= 0]
        for row in known:
            self._order.use(row)
        self._make_room(len(admitted), spared=len(known))
        admitted = admitted[: self.limits.max_rows - len(self)]
        if admitted:
            self._append(admitted)
            self.admitted += len(admitted)
        rows = self.rows_of(ids)
        self._last_use_ms[rows[rows >= 0]] = now_ms
        return rows

    def forget(self, id_: str) -> bool:
        """Delete an id's row, with its optimiser state; False where it has none."""
        row = self._row_of.row_of(id_)
        if row >= 0:
            self._remove([row])
        return row >= 0

    def learn_distinct_rows(self, rows: Tensor, gradients: Tensor) -> None:
        """See `EmbeddingTable`; the rows are touched."""
        super().learn_distinct_rows(rows, gradients)
        self._touched[rows] = True

    def take_touched(self) -> NDArray[np.int64]:
        """Return the rows whose numbers or id changed since the last call, ascending."""
        rows = torch.nonzero(self._touched[: len(self)]).squeeze(1)
        self._touched[rows] = False
        return rows.cpu().numpy()

    def metrics(self) -> dict[str, int]:
        """Return how many rows there are and what became of the others, for status file and metrics."""
        waiting = self._filter.distinct() if self.limits.admit_after > 1 else 0
        moves = {"admitted": self.admitted, "expired": self.expired, "evicted": self.evicted}
        return {"rows": len(self), "waiting": waiting, **moves}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return rows, optimiser state, order of use and what waits, as a copy."""
        moves = np.array([self.admitted, self.expired, self.evicted])
        own = {"last_use_ms": self._last_use_ms[: len(self)].copy(), "use_order": self._order.links(), "moves": moves}
        waiting = self._filter.arrays() if self.limits.admit_after > 1 else {}
        return super().arrays() | own | {f"filter.{name}": array for name, array in waiting.items()}

    def restore(self, ids: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over ids and what `arrays` returned.

        Raises:
            ValueError: ids repeat or shapes do not fit.
        """
        super().restore(ids, arrays)
        self._order.restore(arrays["use_order"])
        self._last_use_ms[: len(ids)] = arrays["last_use_ms"]
        self.admitted, self.expired, self.evicted = arrays["moves"].tolist()
        waiting = with_prefix(arrays, "filter.")
        if waiting:
            self._filter.restore(waiting)

    def _admitted(self, ids: Sequence[str]) -> list[str]:
        """Count sightings of ids without a row; return those that have earned one, each once, in order."""
        strangers = [id_ for id_ in ids if id_ not in self._row_of]
        if self.limits.admit_after > 1:
            strangers = [id_ for id_ in strangers if self._filter.count(id_) >= self.limits.admit_after]
        return list(dict.fromkeys(strangers))

    def _expire(self, now_ms: int) -> None:
        if not self.limits.expire_after_ms:
            return
        oldest_ms = now_ms - self.limits.expire_after_ms
        gone = []
        for row in self._order.oldest(_MOST_EXPIRED):
            if self._last_use_ms[row] >= oldest_ms:
                break
            gone.append(row)
        self.expired += len(gone)
        self._remove(gone)

    def _make_room(self, wanted: int, spared: int) -> None:
        """Let the least recently used go, but none of the newest `spared`."""
        surplus = min(len(self) + wanted - self.limits.max_rows, len(self) - spared)
        if surplus > 0:
            self.evicted += surplus
            self._remove(self._order.oldest(surplus))

    def _remove(self, gone: Sequence[int]) -> None:
        """Delete rows: the last ones move into the holes, so that rows stay dense; what they leave is zeroed."""
        if not gone:
            return
        rows = np.sort(np.array(gone, dtype=np.int64))
        size, left = len(self), len(self) - len(rows)
        holes, moved = rows[rows < left], np.setdiff1d(np.arange(left, size), rows)
        self._order.remove(gone, holes.tolist(), moved.tolist())
        for row in gone:
            del self._row_of[self.ids[row]]
        for hole, row in zip(holes.tolist(), moved.tolist(), strict=True):
            self.ids[hole] = self.ids[row]
            self._row_of[self.ids[row]] = hole
        self._last_use_ms[holes] = self._last_use_ms[moved]
        del self.ids[left:]
        self._touched[torch.from_numpy(holes).to(self._device)] = True
        self._move_rows(holes, moved, left, size)

    def _append(self, new_ids: list[str]) -> None:
        super()._append(new_ids)
        self._touched[len(self) - len(new_ids) : len(self)] = True
        for _ in new_ids:
            self._order.append()

    def _reserve(self, size: int) -> None:
        super()._reserve(size)
        if len(self._last_use_ms) < self._capacity:
            grown = np.zeros(self._capacity, dtype=np.int64)
            grown[: len(self._last_use_ms)] = self._last_use_ms
            self._last_use_ms = grown
            touched = np.zeros(self._capacity, dtype=np.bool_)  # Zero pages: memory when a row is used.
            touched[: len(self._touched)] = self._touched.cpu().numpy()
            self._touched = torch.from_numpy(touched).to(self._device)
