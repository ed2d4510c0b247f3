"""Versions whose tensors tell their number (`tests/bench/version_code.py`), whole and as cuts, as a trainer makes them.

Letters: `n` the version's seq, `N` items, `D` embedding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.model_inputs import (
    feature_schema_hash,
    first_pre_ranker_weights,
    known_for,
    log_share,
    pre_ranker_input_names,
    ranker_input_names,
)
from features.title_index import MAX_TOKENS
from tests.bench.version_code import AGE, NEXT, NUM_TITLED, NUM_TOPICS, PAIR, SCALE, USERS, VersionCode
from trainer.model import Model
from trainer.version_cut import Cut, TouchedTensor
from trainer.version_files import Manifest, ModelVersion, Version

_HOUR_MS = 3_600_000


class EncodedVersions:
    """Makes versions and cuts of them, each with one item more than the one before and now and then a user more.

    Args:
        name: of the model.
        features: the schema.
        num_items: N of version 0.
        embedding_dim: D.
    """

    def __init__(self, name: str, features: FeaturesConfig, num_items: int, embedding_dim: int) -> None:
        self._name = name
        self._features = features
        self._num_items = num_items
        self._dim = embedding_dim
        self._inputs = ranker_input_names(features)
        self._canary = np.random.default_rng(7).normal(size=(8, len(self._inputs))).astype(np.float32)
        self._item_ids: list[str] = []

    def version(self, version: ModelVersion) -> Version:
        """Return a whole version."""
        arrays = self._arrays(version.seq)
        manifest, dense = self._told(version)
        return Version(
            manifest=manifest,
            dense=dense,
            item_ids=list(self._items(version.seq)),
            user_ids=self._users(version.seq),
            canary_inputs=self._canary,
            **cast(Any, arrays),
        )

    def cut(self, version: ModelVersion) -> Cut:
        """Return what the trainer would cut, one version after the one before."""
        arrays, n = self._arrays(version.seq), version.seq
        manifest, dense = self._told(version)
        first, all_items = np.zeros(1, dtype=np.int64), np.arange(self._num_items + n)
        rows = dict.fromkeys(("neighbours", "weights", "totals"), first)
        rows |= dict.fromkeys(("successors", "successor_weights", "successor_totals"), first)
        rows |= {"title_tokens": np.array([0, self._num_items + n - 1]), "seen_ms": all_items}
        rows["item_vectors"] = all_items
        rows["user_embedding"] = np.arange(len(self._users(n)))
        return Cut(
            manifest=manifest,
            dense=dense,
            canary_inputs=self._canary,
            item_ids=self._items(n),
            touched={name: TouchedTensor(which, arrays[name][which]) for name, which in rows.items()},
            user_ids=self._users(n),
        )

    def dense(self, n: int) -> dict[str, NDArray[np.float32]]:
        """Return all dense weights."""
        code, column = VersionCode(n), self._inputs.index
        made = Model(self._dim, len(self._inputs), len(pre_ranker_input_names(self._features))).dense()
        dense = {name: np.zeros_like(tensor) for name, tensor in made.items()}
        for name in dense:
            if name.startswith("heads.") or name in ("ranker.organic_bias", "ranker.input_count"):
                dense[name][:] = 0.01 * (1 + n % 11)
        dense["pre_ranker"][:] = first_pre_ranker_weights(self._features) * (1.0 + 0.01 * (n % 11))
        dense["tower.history_projection.weight"][0, 0] = code.projection
        dense["tower.history_projection.bias"][0] = code.projection_bias
        dense["ranker.input_variance"][:] = 1.0
        dense["ranker.input_mean"][column("tower_score")] = code.tower_mean
        dense["ranker.input_variance"][column("tower_score")] = code.tower_variance
        tower = (code.tower_score - code.tower_mean) / np.sqrt(code.tower_variance + 1e-4)
        wanted = {
            "tower_score": 1.0 / tower,
            "co_visitation_last_1": PAIR / log_share(code.pair_chance) / SCALE,
            "next_item_last_1": NEXT / log_share(code.next_chance) / SCALE,
            "title_similarity": code.title_weight,
            "item_known_for": AGE / known_for(1, 1 + code.known_h * _HOUR_MS) / SCALE,
            "item_idle_for": AGE / known_for(1, 1 + code.idle_h * _HOUR_MS) / SCALE,
        }
        for name, weight in wanted.items():
            dense["ranker.linear.weight"][0, column(name)] = weight
        dense["ranker.hidden_1.bias"][0] = code.hidden_1
        dense["ranker.hidden_2.weight"][0, 0] = code.hidden_2
        dense["ranker.hidden_2.bias"][0] = code.hidden_bias
        dense["ranker.output.weight"][0, 0] = 1.0 / (code.hidden_2 * code.hidden_1 + code.hidden_bias)
        dense["ranker.bias"][:] = code.bias
        return dense

    def _told(self, version: ModelVersion) -> tuple[Manifest, dict[str, NDArray[np.float32]]]:
        dense = self.dense(version.seq)
        manifest = Manifest(
            name=self._name,
            version=str(version),
            created_time_ms=time.time_ns() // 1_000_000,
            feature_schema_hash=feature_schema_hash(self._features),
            canary_scores=tuple(Model.from_dense(dense).rank(self._canary).tolist()),
        )
        sizes = {"num_items": self._num_items + version.seq, "num_users": len(self._users(version.seq))}
        return msgspec.structs.replace(manifest, **sizes), dense

    def _items(self, n: int) -> Sequence[str]:
        """Return the ids of all items up to version n; a list that only grows, as the trainer's is."""
        self._item_ids += [f"item-{row:06d}" for row in range(len(self._item_ids), self._num_items + n)]
        return self._item_ids if len(self._item_ids) == self._num_items + n else self._item_ids[: self._num_items + n]

    def _users(self, n: int) -> list[str]:
        return [*USERS, *(f"new-user-{number}" for number in range(n // 3))]

    def _arrays(self, n: int) -> dict[str, NDArray[Any]]:
        """Return all tensors of rows by name."""
        code, size, features = VersionCode(n), self._num_items + n, self._features
        vectors = np.zeros((size, self._dim), dtype=np.float32)
        users = np.zeros((len(self._users(n)), self._dim), dtype=np.float32)
        vectors[:, 0], users[:, 0] = code.in_items, code.in_users
        titles = np.full((size, MAX_TOKENS), -1, dtype=np.int32)
        titles[:NUM_TITLED, 0] = np.arange(NUM_TITLED) % NUM_TOPICS
        titles[0, 0] = code.topic
        titles[self._num_items :, 0] = 100 + np.arange(n)
        now_ms = time.time_ns() // 1_000_000
        seen_ms = np.empty((size, 2), dtype=np.int64)
        seen_ms[:] = now_ms - code.known_h * _HOUR_MS, now_ms - code.idle_h * _HOUR_MS
        arrays: dict[str, NDArray[Any]] = {
            "item_vectors": vectors,
            "user_embedding": users,
            "title_tokens": titles,
            "seen_ms": seen_ms,
        }
        pairs = ("neighbours", "weights", "totals")
        successors = ("successors", "successor_weights", "successor_totals")
        for names, width, rows, chance, total in (
            (pairs, features.co_visitation_neighbours, code.pairs, code.pair_chance, code.pair_total),
            (successors, features.successor_neighbours, code.successors, code.next_chance, code.next_total),
        ):
            arrays[names[0]] = np.full((size, width), -1, dtype=np.int32)
            arrays[names[1]] = np.zeros((size, width), dtype=np.float32)
            arrays[names[2]] = np.zeros(size, dtype=np.float32)
            arrays[names[0]][0, : len(rows)] = rows
            arrays[names[1]][0, : len(rows)] = chance * total
            arrays[names[2]][0] = total
        return arrays
