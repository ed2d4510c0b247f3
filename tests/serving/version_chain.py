"""A publisher for tests: versions whose every tensor tells their number, as snapshots and as deltas.

A score of such a version is right only where dense weights, item vectors, user rows and co-visitation are all of one
version: `legal_scores` are the only two there can be (with and without a pair), and any mix gives another one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.model_inputs import pre_ranker_input_names, ranker_input_names
from tests.serving.serving_parts import APP, ITEM_IDS, World, make_version
from trainer.delta_chunks import TOPIC, chunk_records
from trainer.model import Model
from trainer.version_delta import Change, Delta, digest_of, encode_delta
from trainer.version_files import ModelVersion, Version, read_version, write_version
from trainer.version_image import VersionImage

HISTORY = "item-000"
"""What every user had last; its pairs tell the version too."""
USERS = ("ann", "bob", "cem")
_NAMES = ranker_input_names(APP.features)
_TOWER, _PAIR = _NAMES.index("tower_score"), _NAMES.index("co_visitation_last_1")
_PAIR_WEIGHT = 0.5
_SCALE = 1.0 / np.sqrt(1.0 + 1e-4)
"""Of inputs with mean 0 and variance 1, as the ranker scales them."""
_TOLERANCE = 2e-3


def history_row() -> dict[str, Any]:
    """Return the feature row of every user."""
    return {
        "user_history_item_ids": [HISTORY],
        "user_history_outcomes": [1],
        "user_history_times_ms": [1_790_000_000_000],
    }


def tower_of(seq: int) -> tuple[float, float]:
    """Return what stands in item vectors and in user rows; their product is undone by the ranker's weight."""
    in_items = 0.5 + 0.125 * (seq % 7)
    return in_items, (1.0 + 0.375 * (seq % 9)) / in_items


def total_of(seq: int) -> float:
    """Return how often an item is said to have stood before another; pairs are half of it."""
    return 2.0 + seq % 5


def bias_of(seq: int) -> float:
    """Return what every score of a version holds."""
    return 4.0 * (seq % 50)


def legal_scores(version: str) -> tuple[float, float]:
    """Return the scores that items of a version may have."""
    base = bias_of(ModelVersion.parse(version).seq) + _SCALE
    return tuple(base + _PAIR_WEIGHT * _SCALE * (np.log(p + 1e-5) + 6.0) / 2.0 for p in (0.5, 0.0))


def is_of_one_version(version: str, scores: list[float]) -> bool:
    """Say whether scores can come from a version that is whole."""
    return all(min(abs(score - legal) for legal in legal_scores(version)) < _TOLERANCE for score in scores)


def dense_of(seq: int, dim: int = 4) -> dict[str, NDArray[np.float32]]:
    """Return weights that undo what the rows of the same version hold."""
    dense = Model(dim, len(_NAMES), len(pre_ranker_input_names(APP.features))).dense()
    for name in ("tower.history_projection.weight", "tower.history_projection.bias", "ranker.skip_scale"):
        dense[name][:] = 0.0
    in_items, in_users = tower_of(seq)
    dense["ranker.linear.weight"][0, _TOWER] = 1.0 / (in_items * in_users)
    dense["ranker.linear.weight"][0, _PAIR] = _PAIR_WEIGHT
    dense["ranker.bias"][:] = bias_of(seq)
    return dense


def encoded_version(name: str, item_ids: tuple[str, ...] = ITEM_IDS, dim: int = 4, neighbours: int = 3) -> Version:
    """Return a whole version whose tensors tell its number."""
    seq, size = ModelVersion.parse(name).seq, len(item_ids)
    version = make_version(name, item_ids, dim)
    in_items, in_users = tower_of(seq)
    dense = dense_of(seq, dim)
    vectors, users = np.zeros((size, dim), dtype=np.float32), np.zeros((len(USERS), dim), dtype=np.float32)
    vectors[:, 0], users[:, 0] = in_items, in_users
    pairs = np.full((size, neighbours), -1, dtype=np.int32)
    weights, totals = np.zeros((size, neighbours), dtype=np.float32), np.zeros(size, dtype=np.float32)
    pairs[0], weights[0], totals[0] = np.arange(1, neighbours + 1), total_of(seq) / 2.0, total_of(seq)
    scores = tuple(Model.from_dense(dense).rank(version.canary_inputs).tolist())
    return dataclasses.replace(
        version,
        manifest=msgspec.structs.replace(version.manifest, canary_scores=scores),
        dense=dense,
        item_vectors=vectors,
        user_ids=list(USERS),
        user_embedding=users,
        neighbours=pairs,
        weights=weights,
        totals=totals,
    )


class VersionChain:
    """What the trainer would hold: the newest version, and the deltas that led to it.

    Args:
        store_dir: directory of the model in the store; the opening snapshot is written there.
        version: that snapshot.
    """

    def __init__(self, store_dir: Path, version: Version) -> None:
        self._store_dir = store_dir
        self.name = version.manifest.version
        self.manifest_sha256 = write_version(store_dir, version)
        self.image = VersionImage(read_version(store_dir, self.name))

    @property
    def version(self) -> ModelVersion:
        """The newest."""
        return ModelVersion.parse(self.image.manifest.version)

    def next_delta(self, **others: Any) -> Delta:
        """Return the step to the next version: all rows tell it, and there is a new item and now and then a new user.

        Args:
            others: of the manifest.
        """
        image, seq = self.image, self.version.seq + 1
        in_items, in_users = tower_of(seq)
        num_items, is_new_user = image.num_items + 1, seq % 3 == 0
        num_users = image.num_users + is_new_user
        dense = dense_of(seq, image.tensor("item_vectors").shape[1])
        vectors = np.zeros((num_items, image.tensor("item_vectors").shape[1]), dtype=np.float32)
        users = np.zeros((num_users, vectors.shape[1]), dtype=np.float32)
        vectors[:, 0], users[:, 0] = in_items, in_users
        width = image.tensor("neighbours").shape[1]
        titles = np.full((1, image.tensor("title_tokens").shape[1]), -1, dtype=np.int32)
        titles[0, 0] = seq % 100
        manifest = msgspec.structs.replace(
            image.manifest,
            version=str(ModelVersion(self.version.epoch, seq)),
            parent_version=image.manifest.version,
            parent_sha256=image.digest,
            canary_scores=tuple(Model.from_dense(dense).rank(image.canary_inputs).tolist()),
            num_items=num_items,
            num_users=num_users,
            delta_sha256="",
            delta_offset=-1,
        )
        cells = np.arange(width)
        return Delta(
            manifest=msgspec.structs.replace(manifest, **others),
            dense=dense,
            canary_inputs=image.canary_inputs,
            item_ids=[f"new-{num_items}"],
            user_rows=np.arange(image.num_users, num_users),
            user_ids=[f"user-{row}" for row in range(image.num_users, num_users)],
            changes={
                "item_vectors": Change(np.arange(num_items), vectors),
                "user_embedding": Change(np.arange(num_users), users),
                "weights": Change(cells, np.full(width, total_of(seq) / 2.0, dtype=np.float32)),
                "totals": Change(np.array([0]), np.array([total_of(seq)], dtype=np.float32)),
                "title_tokens": Change(np.array([num_items - 1]), titles),
            },
        )

    def step(self) -> list[bytes]:
        """Go on to the next version; return its records."""
        delta = self.next_delta()
        payload = encode_delta(delta)
        self.image.apply(delta, digest_of(payload))
        return records_of(delta, payload)

    def write_snapshot(self, offset: int) -> tuple[str, str]:
        """Write the newest version as a snapshot, behind which the topic goes on at `offset`.

        Returns:
            Its version, and its manifest's digest.
        """
        manifest = msgspec.structs.replace(
            self.image.manifest, delta_sha256=self.image.digest, delta_offset=offset, parent_sha256=""
        )
        version = self.image.as_version(manifest)
        return manifest.version, write_version(self._store_dir, version)


def records_of(delta: Delta, payload: bytes) -> list[bytes]:
    """Return the records of a payload."""
    return chunk_records(APP.name, delta.manifest.version, delta.manifest.parent_sha256, payload)


def put(world: World, records: list[bytes]) -> None:
    """Write records to the world's topic."""
    for record in records:
        world.broker.append(TOPIC, APP.name.encode(), record)


def end_of(world: World) -> int:
    """Return where the world's topic ends."""
    return len(world.broker.logs[TOPIC])
