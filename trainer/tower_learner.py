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
from trainer.flat_adam import FlatAdam
from trainer.model import HISTORY_LENGTH, TwoTower
from trainer.named_arrays import with_prefix
from trainer.step_config import StepConfig
from trainer.step_outcome import StepOutcome
from trainer.tower_step import ItemCategories, TowerQueries, tower_step
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
        self.optimizer = FlatAdam(tower, config.learning_rate, config.update_clip)

    @torch.no_grad()
    def item_vectors(self, categories: NDArray[np.int64], first: int = 0) -> NDArray[np.float32]:
        """Return the vectors of all items from row `first` on, (n, D), from the categories of each, (n, M)."""
        is_used = categories >= 0
        sizes = is_used.sum(axis=1)
        rows, starts = self._tensor(categories[is_used]), self._tensor(np.cumsum(sizes) - sizes)
        vectors = self.tower.item_vectors(self.item_rows.weight[first:], self.category_rows.weight, rows, starts)
        return vectors.cpu().numpy()

    def learn_batch(self, batch: TowerBatch) -> StepOutcome:
        """Take one step of sampled softmax, unless it would not be finite."""
        users, touched = self._tensor(batch.users), self._tensor(batch.touched)
        categories = ItemCategories.of_rows(batch.categories, self._device)
        loss, gradients = tower_step(
            self.tower,
            self.user_rows.gather(users),
            self.item_rows.weight[touched],
            self.category_rows.weight[categories.distinct],
            categories,
            self._queries(batch),
            self.optimizer.gradients,
        )
        rows = [users, touched, categories.distinct]  # In the order of `tables`.
        of_rows = [gradients.users, gradients.items, gradients.categories]
        if self._workers:
            loss = self._workers.average(loss, self.optimizer.flat_gradient)
            rows = [self._workers.gather(named) for named in rows]
            of_rows = [self._workers.gather(gradient) / self._workers.size for gradient in of_rows]
        fault = self.optimizer.fault(loss, dict(zip(("user rows", "item rows", "category rows"), of_rows, strict=True)))
        if fault:
            return StepOutcome(fault, batch={name: getattr(batch, name) for name in TowerBatch.__dataclass_fields__})
        was_clipped = self.optimizer.step()
        for table, named, gradient in zip(self.tables().values(), rows, of_rows, strict=True):
            if self._workers or table is self.user_rows:
                table.learn_rows(named, gradient)
            else:
                table.learn_distinct_rows(named, gradient)
        return StepOutcome(was_clipped=was_clipped)

    def tables(self) -> dict[str, EmbeddingTable]:
        """Return the tables by the name they have in a checkpoint."""
        return {"users": self.user_rows, "items": self.item_rows, "categories": self.category_rows}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return rows and optimisers for a checkpoint; the tower's weights are saved with the model."""
        arrays: dict[str, NDArray[Any]] = {f"optimizer.{k}": v for k, v in self.optimizer.arrays().items()}
        for name, table in self.tables().items():
            arrays |= {f"{name}.{part}": array for part, array in table.arrays().items()}
        return arrays

    def names(self) -> dict[str, list[str]]:
        """Return the ids of all rows for a checkpoint."""
        return {name: list(table.ids) for name, table in self.tables().items()}

    def restore(self, names: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `names` and `arrays` returned."""
        self.optimizer.restore(with_prefix(arrays, "optimizer."))
        for name, table in self.tables().items():
            table.restore(names[name], with_prefix(arrays, f"{name}."))

    def _queries(self, batch: TowerBatch) -> TowerQueries:
        is_known, length = batch.history >= 0, min(HISTORY_LENGTH, batch.history.shape[1])
        is_used = (is_known & (batch.outcomes >= 0))[:, :length].astype(np.float32)
        places = np.searchsorted(batch.touched, np.where(is_known, batch.history, batch.touched[0])[:, :length])
        candidates = np.searchsorted(batch.touched, batch.candidates)
        targets = np.searchsorted(batch.candidates, batch.targets)
        return TowerQueries(
            self._tensor(places),
            self._tensor(is_used),
            self._tensor(candidates),
            self._tensor(batch.log_q),
            self._tensor(targets),
        )

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return on_device(array, self._device)
