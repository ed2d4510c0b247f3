"""Learns retrieval: user, item and category rows and the tower over them.

Rows of the item and category tables are kept equal to the rows of the `ItemTable`, so one number names an item
everywhere in this process.
Letters: `B` positives of a batch, `C` candidates of the sampled softmax, `N` items, `L` history, `D` embedding,
`M` categories of an item, `Q` distinct items touched by a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.candidates import TowerQuery
from features.item_table import ItemTable
from trainer.config import LearnerConfig
from trainer.embedding_table import EmbeddingTable
from trainer.list_builder import UserMoment
from trainer.loss import FrequencyEstimate, sampled_softmax
from trainer.model import HISTORY_LENGTH, TwoTower
from trainer.optimizer_state import optimizer_arrays, restore_optimizer, set_learning_rate, with_prefix

_REFRESH_SAMPLES = 32
"""Item vectors for the trainer's own lists are recomputed after this many samples; the server lags more."""


@dataclass(frozen=True)
class Positive:
    """One positive event as the tower learns it."""

    user_id: str
    item_row: int
    history_rows: NDArray[np.int64]
    """(L,) newest first, as of just before the event."""
    outcomes: NDArray[np.int8]
    """(L,)"""


class TowerLearner:
    """Embedding tables, tower and their optimiser.

    Args:
        tower: the module to train.
        items: the tables' catalogue; it names the rows.
        config: sizes and rates.
        device: where rows live.
    """

    def __init__(self, tower: TwoTower, items: ItemTable, config: LearnerConfig, device: str) -> None:
        self.tower = tower
        self._items = items
        self._config = config
        self._device = device
        rate, scale, dim = config.embedding_learning_rate, config.embedding_scale, config.embedding_dim
        self.user_rows = EmbeddingTable(dim, rate, 0.0, config.seed, device)
        self.item_rows = EmbeddingTable(dim, rate, scale, config.seed + 1, device)
        self.category_rows = EmbeddingTable(dim, rate, scale, config.seed + 2, device)
        self.optimizer = torch.optim.Adam(tower.parameters(), lr=config.learning_rate)
        self.frequency = FrequencyEstimate()
        self.index: NDArray[np.float32] = np.zeros((0, dim), dtype=np.float32)
        """Item vectors as the trainer's own lists see them; up to `_REFRESH_SAMPLES` behind."""
        self.samples_since_refresh = 0

    def sync_rows(self) -> None:
        """Give every item and category of the catalogue its row, in the catalogue's order."""
        for table, names in ((self.item_rows, self._items.item_ids), (self.category_rows, self._items.category_names)):
            if len(table) < len(names):
                table.rows_of(names[len(table) :], add=True)
            assert len(table) == len(names), "embedding rows and catalogue rows must stay equal"

    @torch.no_grad()
    def item_vectors(self) -> NDArray[np.float32]:
        """Return the vectors of all items, (N, D)."""
        self.sync_rows()
        every = torch.arange(len(self._items), device=self._device)
        categories = self._categories_of(every)
        vectors = self.tower.item_vectors(self.item_rows.weight, self.category_rows.gather(categories), categories >= 0)
        return vectors.cpu().numpy()

    def refresh_index(self, new_samples: int) -> None:
        """Recompute the index when it is old enough or items came."""
        self.samples_since_refresh += new_samples
        if self.samples_since_refresh >= _REFRESH_SAMPLES or len(self.index) < len(self._items):
            self.index = self.item_vectors()
            self.samples_since_refresh = 0

    def query(self, user_id: str, moment: UserMoment) -> TowerQuery:
        """Return one user's vector beside the vectors of all items of the index."""
        rows = moment.history_rows[:HISTORY_LENGTH]
        is_known = (rows >= 0) & (rows < len(self.index))
        user_row = self.user_rows.rows_of([user_id])[0]
        vector = self.tower.user_vector(
            None if user_row < 0 else self.user_rows.weight[user_row].cpu().numpy(),
            self.index[rows[is_known]],
            moment.state.history_outcomes[:HISTORY_LENGTH][is_known],
        )
        return TowerQuery(vector, self.index)

    def learn_positives(self, positives: Sequence[Positive], step: int, rate_factor: float = 1.0) -> bool:
        """Take one step of sampled softmax over `positives`; say whether the loss was finite and the step taken."""
        self.sync_rows()
        set_learning_rate(self.optimizer, rate_factor * self._config.learning_rate)
        for table in self._tables().values():
            table.learning_rate = rate_factor * self._config.embedding_learning_rate
        num_items = len(self._items)
        targets = np.array([positive.item_row for positive in positives], dtype=np.int64)  # (B,)
        self.frequency.observe(targets, step, num_items)
        drawn = np.random.default_rng((self._config.seed, step)).integers(
            num_items, size=min(self._config.retrieval_negatives, num_items)
        )
        candidates = np.unique(np.concatenate([targets, drawn]))  # (C,) each item once
        log_q = np.log(self.frequency.per_step(candidates) + len(drawn) / num_items)
        history, outcomes = _pad_histories(positives)
        touched = np.unique(np.concatenate([candidates, history[history >= 0]]))  # (Q,)
        users = self.user_rows.rows_of([positive.user_id for positive in positives], add=True)
        return self._step(_Batch(users, targets, candidates, log_q, history, outcomes, touched))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return rows, optimisers and frequencies for a checkpoint; the tower's weights are saved with the model."""
        arrays: dict[str, NDArray[Any]] = {f"optimizer.{k}": v for k, v in optimizer_arrays(self.optimizer).items()}
        for name, table in self._tables().items():
            arrays |= {f"{name}.{part}": tensor.cpu().numpy() for part, tensor in table.tensors().items()}
        arrays |= {"index": self.index, "samples_since_refresh": np.array([self.samples_since_refresh])}
        return arrays | {"last_step": self.frequency.last_step.copy(), "gap": self.frequency.gap.copy()}

    def names(self) -> dict[str, list[str]]:
        """Return the ids of all rows for a checkpoint."""
        return {name: list(table.ids) for name, table in self._tables().items()}

    def restore(self, names: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `names` and `arrays` returned."""
        restore_optimizer(self.optimizer, with_prefix(arrays, "optimizer."))
        for name, table in self._tables().items():
            rows = {part: self._tensor(array) for part, array in with_prefix(arrays, f"{name}.").items()}
            table.restore(names[name], rows)
        self.index = arrays["index"].copy()
        self.samples_since_refresh = int(arrays["samples_since_refresh"][0])
        self.frequency.last_step, self.frequency.gap = arrays["last_step"].copy(), arrays["gap"].copy()

    def _tables(self) -> dict[str, EmbeddingTable]:
        return {"users": self.user_rows, "items": self.item_rows, "categories": self.category_rows}

    def _step(self, batch: _Batch) -> bool:
        touched = self._tensor(batch.touched)
        categories = self._categories_of(touched)  # (Q, M)
        item_rows = self.item_rows.gather(touched).requires_grad_()
        category_rows = self.category_rows.gather(categories).requires_grad_()
        user_rows = self.user_rows.gather(self._tensor(batch.users)).requires_grad_()
        vectors = self.tower.item_vectors(item_rows, category_rows, categories >= 0)  # (Q, D)
        history = vectors[self._tensor(np.searchsorted(batch.touched, np.maximum(batch.history, batch.touched[0])))]
        users = self.tower.user_vectors(
            user_rows, history, self._tensor(batch.outcomes), self._tensor(batch.history >= 0)
        )
        scores = users @ vectors[self._tensor(np.searchsorted(batch.touched, batch.candidates))].T  # (B, C)
        columns = self._tensor(np.searchsorted(batch.candidates, batch.targets))
        log_q = self._tensor(batch.log_q.astype(np.float32))
        loss = sampled_softmax(scores, log_q, columns)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [_gradient(leaf) for leaf in (item_rows, category_rows, user_rows)]
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (loss, *gradients)):
            return False
        self.optimizer.step()
        self.item_rows.learn_rows(touched, gradients[0])
        self.category_rows.learn_rows(categories.flatten(), gradients[1].flatten(0, 1))
        self.user_rows.learn_rows(self._tensor(batch.users), gradients[2])
        return True

    def _categories_of(self, rows: Tensor) -> Tensor:
        """Return category rows of items, (Q,) -> (Q, M) int64, -1 where none."""
        return self._tensor(self._items.categories[rows.cpu().numpy()].astype(np.int64))

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


@dataclass(frozen=True)
class _Batch:
    users: NDArray[np.int64]
    """(B,)"""
    targets: NDArray[np.int64]
    """(B,)"""
    candidates: NDArray[np.int64]
    """(C,) ascending."""
    log_q: NDArray[np.float64]
    """(C,)"""
    history: NDArray[np.int64]
    """(B, L) -1 where it ends."""
    outcomes: NDArray[np.int8]
    """(B, L)"""
    touched: NDArray[np.int64]
    """(Q,) ascending."""


def _pad_histories(positives: Sequence[Positive]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    length = max(1, *(min(HISTORY_LENGTH, len(positive.history_rows)) for positive in positives), 1)
    rows = np.full((len(positives), length), -1, dtype=np.int64)
    outcomes = np.zeros((len(positives), length), dtype=np.int8)
    for index, positive in enumerate(positives):
        used = positive.history_rows[:length]
        rows[index, : len(used)] = used
        outcomes[index, : len(used)] = positive.outcomes[:length]
    return rows, outcomes


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
