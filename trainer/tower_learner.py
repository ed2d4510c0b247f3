"""Learns user, item and category rows and the tower over them, from arrays of row numbers.

Letters: `B` positives of a batch, `C` candidates of the sampled softmax, `L` history, `D` embedding,
`M` categories of an item, `Q` distinct items touched by a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.bounded_table import BoundedTable
from trainer.device import on_device
from trainer.embedding_table import EmbeddingTable
from trainer.guarded_step import clipped_step, fault_of, named_gradients
from trainer.loss import sampled_softmax
from trainer.model import TwoTower
from trainer.optimizer_state import optimizer_arrays, restore_optimizer, set_learning_rate, with_prefix
from trainer.step_config import StepConfig
from trainer.step_outcome import StepOutcome
from trainer.worker_group import WorkerGroup


@dataclass(frozen=True)
class TowerBatch:
    """Positives as rows of the tables."""

    users: NDArray[np.int64]
    """(B,) user rows, -1 for a user without one."""
    targets: NDArray[np.int64]
    """(B,) item rows."""
    candidates: NDArray[np.int64]
    """(C,) item rows, ascending; every target is one of them."""
    log_q: NDArray[np.float32]
    """(C,) log of how often a candidate is expected in the sample."""
    history: NDArray[np.int64]
    """(B, L) item rows, newest first, -1 where it ends."""
    outcomes: NDArray[np.int8]
    """(B, L) 1, 0 or -1."""
    touched: NDArray[np.int64]
    """(Q,) all item rows above, ascending."""
    categories: NDArray[np.int64]
    """(Q, M) category rows of the touched items, -1 where none."""


class TowerLearner:
    """Embedding tables, tower and their optimiser.

    Args:
        tower: the module to train.
        config: sizes and rates.
        device: where rows live.
        workers: who takes each step together with this one; nobody by default.
    """

    def __init__(self, tower: TwoTower, config: StepConfig, device: str, workers: WorkerGroup | None = None) -> None:
        self.tower = tower
        self._workers = workers
        self._config = config
        self._device = device
        rate, scale, dim = config.embedding_learning_rate, config.embedding_scale, config.embedding_dim
        self.user_rows = BoundedTable(dim, rate, 0.0, config.seed, device, config.user_rows)
        self.item_rows = EmbeddingTable(dim, rate, scale, config.seed + 1, device)
        self.category_rows = EmbeddingTable(dim, rate, scale, config.seed + 2, device)
        self.optimizer = torch.optim.Adam(tower.parameters(), lr=config.learning_rate)

    @torch.no_grad()
    def item_vectors(self, categories: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of all items, (N, D), from the categories of each, (N, M)."""
        rows = self._tensor(categories)
        vectors = self.tower.item_vectors(self.item_rows.weight, self.category_rows.gather(rows), rows >= 0)
        return vectors.cpu().numpy()

    def learn_batch(self, batch: TowerBatch, rate_factor: float = 1.0) -> StepOutcome:
        """Take one step of sampled softmax, unless it would not be finite."""
        set_learning_rate(self.optimizer, rate_factor * self._config.learning_rate)
        for table in self.tables().values():
            table.learning_rate = rate_factor * self._config.embedding_learning_rate
        touched, categories = self._tensor(batch.touched), self._tensor(batch.categories)
        item_rows = self.item_rows.gather(touched).requires_grad_()
        category_rows = self.category_rows.gather(categories).requires_grad_()
        user_rows = self.user_rows.gather(self._tensor(batch.users)).requires_grad_()
        vectors = self.tower.item_vectors(item_rows, category_rows, categories >= 0)  # (Q, D)
        loss = self._loss(batch, vectors, user_rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        rows = [self._tensor(batch.users), touched, categories.flatten()]  # In the order of `tables`.
        gradients = [_gradient(user_rows), _gradient(item_rows), _gradient(category_rows).flatten(0, 1)]
        if self._workers:
            loss = self._workers.average(loss, self.optimizer.param_groups[0]["params"])
            rows = [self._workers.gather(named) for named in rows]
            gradients = [self._workers.gather(gradient) / self._workers.size for gradient in gradients]
        of_rows = dict(zip(("user rows", "item rows", "category rows"), gradients, strict=True))
        fault = fault_of(loss, of_rows | named_gradients(self.tower))
        if fault:
            return StepOutcome(fault, batch={name: getattr(batch, name) for name in TowerBatch.__dataclass_fields__})
        was_clipped = clipped_step(self.optimizer, list(self.tower.parameters()), self._config.update_clip)
        for table, named, gradient in zip(self.tables().values(), rows, gradients, strict=True):
            table.learn_rows(named, gradient)
        return StepOutcome(was_clipped=was_clipped)

    def tables(self) -> dict[str, EmbeddingTable]:
        """Return the tables by the name they have in a checkpoint."""
        return {"users": self.user_rows, "items": self.item_rows, "categories": self.category_rows}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return rows and optimisers for a checkpoint; the tower's weights are saved with the model."""
        arrays: dict[str, NDArray[Any]] = {f"optimizer.{k}": v for k, v in optimizer_arrays(self.optimizer).items()}
        for name, table in self.tables().items():
            arrays |= {f"{name}.{part}": array for part, array in table.arrays().items()}
        return arrays

    def names(self) -> dict[str, list[str]]:
        """Return the ids of all rows for a checkpoint."""
        return {name: list(table.ids) for name, table in self.tables().items()}

    def restore(self, names: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `names` and `arrays` returned."""
        restore_optimizer(self.optimizer, with_prefix(arrays, "optimizer."))
        for name, table in self.tables().items():
            table.restore(names[name], with_prefix(arrays, f"{name}."))

    def _loss(self, batch: TowerBatch, vectors: Tensor, user_rows: Tensor) -> Tensor:
        history = vectors[self._tensor(np.searchsorted(batch.touched, np.maximum(batch.history, batch.touched[0])))]
        users = self.tower.user_vectors(
            user_rows, history, self._tensor(batch.outcomes), self._tensor(batch.history >= 0)
        )
        scores = users @ vectors[self._tensor(np.searchsorted(batch.touched, batch.candidates))].T  # (B, C)
        columns = self._tensor(np.searchsorted(batch.candidates, batch.targets))
        return sampled_softmax(scores, self._tensor(batch.log_q), columns)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return on_device(array, self._device)


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
