"""One immutable model as it serves: built from a version, proven by its canary, placed beside the item table.

Letters: `N` items, `D` embedding, `L` history, `n` candidates, `F` ranker inputs, `K` heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.candidates import TowerQuery
from features.config import FeaturesConfig
from features.count_tables import CountTables
from features.item_table import ItemTable
from features.model_inputs import feature_schema_hash, pre_ranker_input_names, ranker_input_names
from features.user_state import UserState
from serving.numpy_ranker import NumpyRanker
from trainer.model import Model
from trainer.version_files import Manifest, Version, VersionError, read_version

CANARY_TOLERANCE = 1e-3
"""Largest difference to an expected canary score, absolute and relative: float32 on another CPU, no more."""
_CO_VISITATION_WEIGHT = 4.0
"""Against the cosine in `similarity`: a pair seen often counts more than a vector's opinion."""


@dataclass(frozen=True)
class ServingModel:
    """Everything of one version that answers need; nothing in it changes after the swap."""

    version: str
    manifest: Manifest
    item_ids: Sequence[str]
    item_rows: Mapping[str, int]
    """item_id -> row."""
    item_vectors: NDArray[np.float32]
    """(N, D)"""
    user_rows: Mapping[str, int]
    user_embedding: NDArray[np.float32]
    """(U, D)"""
    counts: CountTables
    network: Model
    ranker: NumpyRanker
    """The network's ranker: what answers are scored by."""
    pre_ranker: NDArray[np.float32]
    """(P,) weights that cut the pool to a list."""
    feature_schema_hash: str
    table_rows: NDArray[np.int64]
    """(N,) row in this process's item table; empty until placed."""

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
        return np.fromiter((self.item_rows.get(i, -1) for i in item_ids), dtype=np.int64, count=len(item_ids))

    def known_rows(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of those items that this version knows, in order."""
        rows = self.rows_of(item_ids)
        return rows[rows >= 0]

    def tower_query(self, user: UserState, history_rows: NDArray[np.int64]) -> TowerQuery:
        """Return the user's vector beside every item's; history_rows (L,), -1 unknown."""
        is_known = history_rows >= 0
        user_row = self.user_rows.get(user.user_id)
        vector = self.network.user_vector(
            None if user_row is None else self.user_embedding[user_row],
            self.item_vectors[history_rows[is_known]],
            user.history_outcomes[is_known],
        )
        return TowerQuery(vector, self.item_vectors)

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


class ModelLoader:
    """Reads versions from the model store and proves them.

    Args:
        features: the schema that this server computes inputs for.
    """

    def __init__(self, features: FeaturesConfig) -> None:
        self._schema_hash = feature_schema_hash(features)
        self._num_inputs = len(ranker_input_names(features))
        self._num_pre_ranker_inputs = len(pre_ranker_input_names(features))

    def __call__(
        self, store_dir: Path, version: str, manifest_sha256: str | None, before: ServingModel | None
    ) -> ServingModel:
        """Read, check and build a version; ids shared with `before` are not indexed again.

        Raises:
            VersionError: a file, the schema or the canary is not as it must be.
        """
        read = read_version(store_dir, version, manifest_sha256)
        self._check_schema(read.manifest)
        network = Model.from_dense(read.dense)
        ranker = NumpyRanker(read.dense)
        self._check_network(network, ranker, read)
        return ServingModel(
            version=version,
            manifest=read.manifest,
            item_ids=read.item_ids,
            item_rows=_index(read.item_ids, None if before is None else before.item_rows),
            item_vectors=read.item_vectors,
            user_rows=_index(read.user_ids, None if before is None else before.user_rows),
            user_embedding=read.user_embedding,
            counts=CountTables.from_arrays({name: _aligned(getattr(read, name)) for name in CountTables.array_names()}),
            network=network,
            ranker=ranker,
            pre_ranker=_aligned(read.dense["pre_ranker"]),
            feature_schema_hash=self._schema_hash,
            table_rows=np.zeros(0, dtype=np.int64),
        )

    def _check_schema(self, manifest: Manifest) -> None:
        if manifest.feature_schema_hash != self._schema_hash:
            raise VersionError(
                "feature_schema",
                f"{manifest.version} was trained on schema {manifest.feature_schema_hash}, this server computes "
                f"{self._schema_hash}; give trainer and server the same headrace.yaml",
            )

    def _check_network(self, network: Model, ranker: NumpyRanker, read: Version) -> None:
        """Check the network's shape and that it gives the scores its trainer saw."""
        name, dim = read.manifest.version, read.item_vectors.shape[1]
        pre_ranker_inputs = len(network.pre_ranker)
        found = (network.ranker.num_inputs, network.tower.embedding_dim, read.canary_inputs.shape[1], pre_ranker_inputs)
        wanted = (self._num_inputs, dim, self._num_inputs, self._num_pre_ranker_inputs)
        if found != wanted:
            raise VersionError(
                "dense_tensors", f"{name}: inputs, dim, canary and pre-ranker inputs are {found}, must be {wanted}"
            )
        if read.manifest.heads and len(read.manifest.heads) != network.heads.num_heads:
            raise VersionError(
                "dense_tensors", f"{name}: {network.heads.num_heads} heads, its manifest names {read.manifest.heads}"
            )
        expected = np.array(read.manifest.canary_scores, dtype=np.float64)
        scores = ranker.rank(read.canary_inputs) if len(expected) else np.zeros(0, dtype=np.float32)
        if not np.allclose(scores, expected, rtol=CANARY_TOLERANCE, atol=CANARY_TOLERANCE):
            worst = float(np.abs(scores - expected).max())
            raise VersionError(
                "canary", f"{name}: canary scores are off by up to {worst:.4g}, allowed is {CANARY_TOLERANCE:g}"
            )


def place_rows(model: ServingModel, before: ServingModel | None, items: ItemTable) -> ServingModel:
    """Map the model's rows to the item table's; a prefix of ids shared with `before` keeps its mapping."""
    shared = 0
    if before is not None and len(before.item_ids) <= model.num_items:
        is_prefix = model.item_ids[: before.num_items] == before.item_ids
        shared = before.num_items if is_prefix else 0
    known = before.table_rows if before is not None and shared else np.zeros(0, dtype=np.int64)
    new = items.ensure_rows(model.item_ids[shared:])
    return replace(model, table_rows=np.concatenate([known, new]))


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that owns its memory: one kind for compiled code, whatever file it was read from."""
    return np.array(array)


def _index(ids: Sequence[str], before: Mapping[str, int] | None) -> Mapping[str, int]:
    """Return id -> row; the index of the version before is used again where the ids are the same."""
    if before is not None and len(before) == len(ids) and list(before) == ids:
        return before
    return {id_: row for row, id_ in enumerate(ids)}
