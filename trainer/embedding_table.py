"""A growing table of embedding rows, one per id, that never share a row.

Every row carries its own Adagrad state, so that an id seen twice a day and one seen twice a second both take
steps of a fitting size. A new row is a function of (seed, id) alone: arrival order does not matter.
Letters: `B` batch, `N` rows, `D` embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.id_map import IdMap

_INITIAL_CAPACITY = 64
_RESERVED_BYTES = 1 << 30
"""Address space a table asks for on the CPU. Pages become memory when they are first written, so that a table grows
without a copy up to here: 8 million rows of 32."""
_EPSILON = 1e-8


class EmbeddingTable:
    """Rows by id on one device.

    Args:
        embedding_dim: D.
        learning_rate: of the row-wise Adagrad.
        initial_scale: standard deviation of a new row; 0 starts rows at zero.
        seed: of the initial values.
        device: where rows live, `cpu` or `cuda`.
    """

    def __init__(
        self, embedding_dim: int, learning_rate: float, initial_scale: float, seed: int, device: str = "cpu"
    ) -> None:
        self.embedding_dim = embedding_dim
        self.learning_rate = learning_rate
        self.initial_scale = initial_scale
        self.seed = seed
        self.ids: list[str] = []
        self._row_of = IdMap()
        self._device = device
        self._rows, self._squares = self._zeros(0)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def weight(self) -> Tensor:
        """All rows, (N, D) float32; a view that `learn_rows` changes."""
        return self._rows[: len(self.ids)]

    @property
    def squares(self) -> Tensor:
        """Adagrad state, (N,) float32: the sum over steps of the row's mean squared gradient."""
        return self._squares[: len(self.ids)]

    def rows_of(self, ids: Sequence[str], add: bool = False) -> NDArray[np.int64]:
        """Return the rows of `ids`, shape (len(ids),); unknown ones get a new row with `add`, else -1."""
        if add:
            new_ids = [id_ for id_ in dict.fromkeys(ids) if id_ not in self._row_of]
            if new_ids:
                self._append(new_ids)
        return self._row_of.rows_of(ids)

    def row(self, id_: str) -> NDArray[np.float32] | None:
        """Return a copy of one id's row, (D,), None for an unknown one."""
        row = self._row_of.row_of(id_)
        return None if row < 0 else self._rows[row].cpu().numpy().copy()

    def gather(self, rows: Tensor) -> Tensor:
        """Return a copy of rows, (..., ) int64 -> (..., D); -1 gives zeros."""
        gathered = self._rows[rows.clamp(min=0)]
        return torch.where((rows >= 0).unsqueeze(-1), gathered, torch.zeros_like(gathered))

    def learn_rows(self, rows: Tensor, gradients: Tensor) -> None:
        """Take one step of row-wise Adagrad; a row given several times gets the sum of its gradients.

        `G += mean(g^2); w -= lr * g / (sqrt(G) + eps)`, Adagrad (Duchi et al. 2011,
        https://jmlr.org/papers/v12/duchi11a.html) with one accumulator a row as in DLRM (https://arxiv.org/abs/1906.00091).

        Args:
            rows: (B,) int64, -1 is passed over.
            gradients: (B, D) float32.
        """
        used = rows >= 0
        unique, inverse = torch.unique(rows[used], return_inverse=True)
        summed = torch.zeros(len(unique), self.embedding_dim, device=self._rows.device)
        summed.index_add_(0, inverse, gradients[used])
        self.learn_distinct_rows(unique, summed)

    def learn_distinct_rows(self, rows: Tensor, gradients: Tensor) -> None:
        """Take the same step on rows of which none is -1 and none is given twice, (B,) int64 and (B, D) float32."""
        squares = self._squares[rows] + gradients.square().mean(dim=1)
        self._squares[rows] = squares
        step = self.learning_rate / (squares.sqrt_() + _EPSILON)
        self._rows.index_add_(0, rows, gradients * step.unsqueeze(1), alpha=-1.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the state beside `ids`: `rows` (N, D) and `squares` (N,)."""
        return {"rows": self.weight.cpu().numpy().copy(), "squares": self.squares.cpu().numpy().copy()}

    def restore(self, ids: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over ids and what `arrays` returned.

        Raises:
            ValueError: ids repeat or shapes do not fit.
        """
        shape = (len(ids), self.embedding_dim)
        if arrays["rows"].shape != shape or arrays["squares"].shape != shape[:1] or len(set(ids)) != len(ids):
            raise ValueError(
                f"{len(set(ids))} distinct ids do not fit rows of shape {arrays['rows'].shape}; "
                f"with embedding_dim {self.embedding_dim} they must be {shape}"
            )
        self.ids = list(ids)
        self._row_of = IdMap()
        for row, id_ in enumerate(self.ids):
            self._row_of[id_] = row
        self._rows, self._squares = self._zeros(0)
        self._reserve(len(ids))
        self._rows[: len(ids)] = torch.from_numpy(arrays["rows"])
        self._squares[: len(ids)] = torch.from_numpy(arrays["squares"])

    def _append(self, new_ids: list[str]) -> None:
        start = len(self.ids)
        self._reserve(start + len(new_ids))
        for row, id_ in enumerate(new_ids, start):
            self._row_of[id_] = row
        self.ids.extend(new_ids)
        if self.initial_scale:
            values = np.stack([self._initial_row(id_) for id_ in new_ids])
            self._rows[start : len(self.ids)] = torch.from_numpy(values).to(self._rows.device)

    def _initial_row(self, id_: str) -> NDArray[np.float32]:
        digest = hashlib.blake2b(id_.encode(), digest_size=16, key=str(self.seed).encode()).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
        return generator.standard_normal(self.embedding_dim, dtype=np.float32) * np.float32(self.initial_scale)

    def _move_rows(self, to: NDArray[np.int64], rows: NDArray[np.int64], first_free: int, end: int) -> None:
        """Copy `rows` onto `to` with their state, then zero everything from `first_free` to `end`."""
        target, source = torch.from_numpy(to).to(self._device), torch.from_numpy(rows).to(self._device)
        for content in (self._rows, self._squares):
            content[target] = content[source]
            content[first_free:end] = 0.0

    @property
    def _capacity(self) -> int:
        return len(self._rows)

    def _reserve(self, size: int) -> None:
        """Grow the capacity to `size` rows or more by doubling."""
        if size > self._capacity:
            known = len(self.weight)
            rows, squares = self._zeros(max(size, 2 * self._capacity))
            rows[:known], squares[:known] = self._rows[:known], self._squares[:known]
            self._rows, self._squares = rows, squares

    def _zeros(self, capacity: int) -> tuple[Tensor, Tensor]:
        """Return room for rows and their state.

        On the CPU no less than `_RESERVED_BYTES`, from the system's zero pages; where it refuses, what was asked for.
        On CUDA memory is memory at once, but a copy of 10^6 rows takes less than a millisecond.
        """
        if self._device == "cpu":
            reserved = max(capacity, _RESERVED_BYTES // (4 * self.embedding_dim))
            try:
                return _zero_pages(reserved, self.embedding_dim), _zero_pages(reserved)
            except MemoryError:
                pass
        capacity = max(capacity, _INITIAL_CAPACITY)
        return torch.zeros(capacity, self.embedding_dim, device=self._device), torch.zeros(
            capacity, device=self._device
        )


def _zero_pages(*shape: int) -> Tensor:
    return torch.from_numpy(np.zeros(shape, dtype=np.float32))
