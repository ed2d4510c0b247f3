"""One model as it serves: views of a `ModelBuffer` at one version, with the item table's rows of its items.

Letters: `N` items, `D` embedding, `L` history, `n` candidates, `F` ranker inputs, `K` heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from features.count_tables import CountTables
from features.tower_scores import TowerQuery
from features.user_state import UserState
from serving.near_rows import NearRows
from serving.numpy_ranker import NumpyRanker
from trainer.id_map import IdMap
from trainer.model import Model, user_vector
from trainer.version_files import Manifest

_CO_VISITATION_WEIGHT = 4.0
"""Against the cosine in `similarity`: a pair seen often counts more than a vector's opinion."""


@dataclass(frozen=True)
class ServingModel:
    """Everything of one version that answers need; nothing in it changes while somebody holds it (`ModelBuffer`)."""

    version: str
    manifest: Manifest
    item_ids: Sequence[str]
    item_rows: Mapping[str, int]
    """item_id -> row."""
    item_vectors: NDArray[np.float32]
    """(N, D)"""
    user_rows: IdMap
    user_embedding: NDArray[np.float32]
    """(U, D)"""
    counts: CountTables
    network: Model
    ranker: NumpyRanker
    """The network's ranker: what answers are scored by."""
    pre_ranker: NDArray[np.float32]
    """(P,) weights that cut the pool to a list."""
    projection: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Of histories into user vectors, (D, D) and (D,)."""
    feature_schema_hash: str
    table_rows: NDArray[np.int64]
    """(N,) row in this process's item table; empty until placed."""
    near: NearRows | None = None
    """Of a large catalogue, of all versions of its chain."""

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.item_ids)

    @property
    def created_time_ms(self) -> int:
        """When the version was made."""
        return self.manifest.created_time_ms

    def row_of(self, item_id: str) -> int:
        """Return the row of an item, -1 for one this version does not know."""
        return self.item_rows.get(item_id, -1)

    def rows_of(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of items, -1 for unknown ones, shape (len(item_ids),)."""
        return np.fromiter(map(self.item_rows.get, item_ids, repeat(-1)), dtype=np.int64, count=len(item_ids))

    def known_rows(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of those items that this version knows, in order."""
        rows = self.rows_of(item_ids)
        return rows[rows >= 0]

    def tower_query(self, user: UserState, history_rows: NDArray[np.int64], wanted: int) -> TowerQuery:
        """Return the user's vector beside every item's, with the rows that an index names where there is one.

        Args:
            user: who asks.
            history_rows: (L,) of the newest items, -1 unknown.
            wanted: how many of the nearest are.
        """
        is_known = history_rows >= 0
        user_row = self.user_rows.row_of(user.user_id)
        vector = user_vector(
            self.projection,
            None if user_row < 0 else self.user_embedding[user_row],
            self.item_vectors[history_rows[is_known]],
            user.history_outcomes[: len(history_rows)][is_known],
        )
        near = None if self.near is None else self.near.of(vector, self.num_items, wanted)
        return TowerQuery(vector, self.item_vectors, near)

    def rank(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of a positive; (n, F) -> (n,).

        Raises:
            FloatingPointError: a score is not finite.
        """
        scores = self.ranker.rank(inputs)
        if not np.isfinite(scores).all():
            raise FloatingPointError(f"version {self.version} gives scores that are not finite")
        return scores

    @property
    def head_names(self) -> Sequence[str]:
        """Names of the heads, in the order of `head_chances`; empty where they are switched off."""
        return self.manifest.heads

    def head_chances(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the chance of each head that the trainer declares, (n, F) -> (n, K)."""
        return self.network.head_chances(inputs)

    def similarity(self, row: int) -> NDArray[np.float64]:
        """Score every item by likeness to `row`: cosine of the vectors plus weighted co-visitation, (N,)."""
        norms = np.maximum(np.linalg.norm(self.item_vectors, axis=1), 1e-6)
        cosine = (self.item_vectors @ self.item_vectors[row]) / (norms * norms[row])
        return np.asarray(cosine + _CO_VISITATION_WEIGHT * self.counts.pairs.similar(row, self.num_items))
