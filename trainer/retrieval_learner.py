"""Turns positive events into the tower's batches, and keeps the tower's item rows equal to the catalogue's.

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
from numpy.typing import NDArray

from features.item_table import ItemTable
from features.tower_scores import TowerQuery
from trainer.config import LearnerConfig
from trainer.list_builder import UserMoment
from trainer.loss import FrequencyEstimate
from trainer.model import HISTORY_LENGTH, HISTORY_WEIGHTS
from trainer.tower_learner import TowerBatch, TowerLearner
from trainer.tower_query import query_vector

_REFRESH_POSITIVES = 32
"""Item vectors for the trainer's own lists are recomputed after so many positives; nothing else changes them."""


_NO_ROW: NDArray[np.float32] = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Positive:
    """One positive event as the tower learns it."""

    user_id: str
    item_row: int
    history_rows: NDArray[np.int64]
    """(L,) newest first, as of just before the event."""
    outcomes: NDArray[np.int8]
    """(L,)"""


class RetrievalLearner:
    """A tower over the catalogue: draws its batches, answers queries.

    Args:
        tower: what takes the steps; its tables are filled here.
        items: the catalogue; it names the rows.
        config: negatives and seed.
    """

    def __init__(self, tower: TowerLearner, items: ItemTable, config: LearnerConfig) -> None:
        self.tower = tower
        self._items = items
        self._config = config
        self.frequency = FrequencyEstimate()
        self.index: NDArray[np.float32] = np.zeros((0, config.embedding_dim), dtype=np.float32)
        """Item vectors as the trainer's own lists see them; up to `_REFRESH_POSITIVES` behind."""
        self._positives_since_refresh = 0
        self._projection = tower.tower.projection()

    def sync_rows(self) -> None:
        """Give every item and category of the catalogue its row, in the catalogue's order."""
        tables = (self.tower.item_rows, self._items.item_ids), (self.tower.category_rows, self._items.category_names)
        for table, names in tables:
            if len(table) < len(names):
                table.rows_of(names[len(table) :], add=True)
            assert len(table) == len(names), "embedding rows and catalogue rows must stay equal"

    def item_vectors(self, first: int = 0) -> NDArray[np.float32]:
        """Return the vectors of all items from row `first` on, (N - first, D)."""
        self.sync_rows()
        return self.tower.item_vectors(self._categories_of(np.arange(first, len(self._items))), first)

    def refresh_index(self) -> None:
        """Get ready for the queries of a micro-batch: an index that is old is made anew, items that came are added."""
        self._projection = self.tower.tower.projection()
        if self._positives_since_refresh >= _REFRESH_POSITIVES:
            self.index = self.item_vectors()
            self._positives_since_refresh = 0
        elif len(self.index) < len(self._items):
            self.index = np.concatenate([self.index, self.item_vectors(len(self.index))])

    def query(self, user_id: str, moment: UserMoment) -> TowerQuery:
        """Return one user's vector beside the vectors of all items of the index."""
        row = self.tower.user_rows.row(user_id)
        own = _NO_ROW if row is None else row
        outcomes = moment.state.history_outcomes
        vector = query_vector(*self._projection, own, self.index, moment.history_rows, outcomes, HISTORY_WEIGHTS)
        return TowerQuery(vector, self.index)

    def batch_of(self, positives: Sequence[Positive], step: int, now_ms: int) -> TowerBatch:
        """Draw the batch of a step: give new users and items their rows, count frequencies, draw negatives.

        The draw is a function of (seed, step), so that a restart draws the same.

        Args:
            positives: at least one.
            step: of the learner.
            now_ms: stream time, by which users' rows expire; never falls.
        """
        self.sync_rows()
        num_items = len(self._items)
        self._positives_since_refresh += len(positives)
        targets = np.array([positive.item_row for positive in positives], dtype=np.int64)  # (B,)
        self.frequency.observe(targets, step, num_items)
        drawn = np.random.default_rng((self._config.seed, step)).integers(
            num_items, size=min(self._config.retrieval_negatives, num_items)
        )
        candidates = np.unique(np.concatenate([targets, drawn]))  # (C,) each item once
        log_q = np.log(self.frequency.per_step(candidates) + len(drawn) / num_items)
        history, outcomes = _pad_histories(positives)
        touched = np.unique(np.concatenate([candidates, history[history >= 0]]))  # (Q,)
        users = self.tower.user_rows.use_rows([positive.user_id for positive in positives], now_ms)
        categories = self._categories_of(touched)
        return TowerBatch(users, targets, candidates, log_q.astype(np.float32), history, outcomes, touched, categories)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the tower's rows and optimisers, index and frequencies for a checkpoint."""
        own = {"index": self.index, "positives_since_refresh": np.array([self._positives_since_refresh])}
        own |= {"last_step": self.frequency.last_step.copy(), "gap": self.frequency.gap.copy()}
        return self.tower.arrays() | own

    def restore(self, names: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over `tower.names()` and what `arrays` returned."""
        self.tower.restore(names, arrays)
        self.index = arrays["index"].copy()
        # Checkpoints of before counted samples: their index is recomputed at once.
        self._positives_since_refresh = int(arrays.get("positives_since_refresh", [_REFRESH_POSITIVES])[0])
        self.frequency.last_step, self.frequency.gap = arrays["last_step"].copy(), arrays["gap"].copy()

    def _categories_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return category rows of items, (Q,) -> (Q, M), -1 where none."""
        return self._items.categories[rows].astype(np.int64)


def _pad_histories(positives: Sequence[Positive]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    length = max(1, *(min(HISTORY_LENGTH, len(positive.history_rows)) for positive in positives), 1)
    rows = np.full((len(positives), length), -1, dtype=np.int64)
    outcomes = np.zeros((len(positives), length), dtype=np.int8)
    for index, positive in enumerate(positives):
        used = positive.history_rows[:length]
        rows[index, : len(used)] = used
        outcomes[index, : len(used)] = positive.outcomes[:length]
    return rows, outcomes
