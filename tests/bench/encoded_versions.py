"""Versions whose tensors tell their number, and the scores that a whole one gives: the oracle of swaps.

Every part of a score is brought to a fixed value by a weight that undoes what the tensors of the same version hold:
rows of items and users, the tower's projection, co-visitation, successors, titles, times of events, every layer of the
ranker. A score is right only where all of them are of one version; the bias says of which. No score holds the heads,
the organic bias, the count of inputs and the pre-ranker, which only chooses candidates; their numbers change all the
same. Users have one item in their history, the first.
Letters: `n` the version's seq, `N` items, `D` embedding, `U` users.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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
    log_similarity,
    pre_ranker_input_names,
    ranker_input_names,
)
from features.title_index import MAX_TOKENS
from trainer.model import Model
from trainer.version_cut import Cut, TouchedTensor
from trainer.version_files import Manifest, ModelVersion, Version

USERS = ("ann", "bob", "cem")
TOLERANCE = 2e-3
"""Scores are float32 sums, and ages grow by a moment; a number of another version moves a score by ten times that."""
_SCALE = 1.0 / np.sqrt(1.0 + 1e-4)
"""Of inputs with mean 0 and variance 1, as the ranker scales them."""
_TITLED, _TOPICS = 257, 3
_PAIR, _NEXT, _TITLE, _AGE = 0.5, 0.25, 0.125, 0.2
"""What each part adds to the score."""
_HOUR_MS = 3_600_000


class VersionCode:
    """The numbers that the tensors of version `n` hold."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.bias = 4.0 * (n % 50)
        self.in_items = 0.5 + 0.125 * (n % 7)
        self.tower_score = 1.0 + 0.375 * (n % 9)
        self.projection, self.projection_bias = 0.05 * (1 + n % 4), 0.1 * (1 + n % 5)
        self.tower_mean, self.tower_variance = 0.1 * (n % 3), 1.0 + n % 4
        self.pair_chance, self.pair_total = 0.2 + 0.1 * (n % 5), 2.0 + n % 6
        self.next_chance, self.next_total = 0.3 + 0.1 * (n % 4), 3.0 + n % 5
        self.pairs = range(1 + 64 * (n % 2), 129 + 64 * (n % 2))
        self.successors = range(1 + 32 * (n % 3), 65 + 32 * (n % 3))
        self.topic = n % _TOPICS
        self.title_weight = _TITLE * (1 + n % 2)
        self.known_h, self.idle_h = 20 * (1 + n % 4), 10 * (1 + n % 3)
        self.hidden_1, self.hidden_2, self.hidden_bias = 0.5 + 0.25 * (n % 6), 1.0 + 0.5 * (n % 5), 0.1 * (n % 3)

    @property
    def in_users(self) -> float:
        """What stands in a user's row, so that row and projected history meet items at the tower score."""
        return self.tower_score / self.in_items - (self.projection * self.in_items + self.projection_bias)

    def score_of(self, row: int) -> float:
        """Return the score of an item by its row; those behind the first items are all alike."""
        pair, after = log_share(self.pair_chance), log_share(self.next_chance)
        score = self.bias + 2.0 + 2.0 * _AGE  # The tower's and the hidden layers' parts are 1 each.
        score += _PAIR if row in self.pairs else _PAIR * log_share(0.0) / pair
        score += _NEXT if row in self.successors else _NEXT * log_share(0.0) / after
        is_like = row < _TITLED and row % _TOPICS == self.topic
        return float(score + self.title_weight * _SCALE * log_similarity(1.0 if is_like else 0.0))


def is_of_one_version(version: str, scores: Mapping[int, float]) -> bool:
    """Say whether the scores of items, by row, are those of a version that is whole.

    Args:
        version: that the answer names.
        scores: by row.
    """
    code = VersionCode(ModelVersion.parse(version).seq)
    return bool(scores) and all(abs(score - code.score_of(row)) < TOLERANCE for row, score in scores.items())


def row_of(item_id: str) -> int:
    """Return the row of an item."""
    return int(item_id.rpartition("-")[2])


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
            "co_visitation_last_1": _PAIR / log_share(code.pair_chance) / _SCALE,
            "next_item_last_1": _NEXT / log_share(code.next_chance) / _SCALE,
            "title_similarity": code.title_weight,
            "item_known_for": _AGE / known_for(1, 1 + code.known_h * _HOUR_MS) / _SCALE,
            "item_idle_for": _AGE / known_for(1, 1 + code.idle_h * _HOUR_MS) / _SCALE,
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
        titles[:_TITLED, 0] = np.arange(_TITLED) % _TOPICS
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
