"""One version in memory with all that is derived of it, changed in place by deltas while nobody reads it.

What a delta changes costs by what it changes: ids, co-visitation, titles and rows are updated, only the small dense
weights are built anew. Letters: `N` items, `U` users.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from features.count_tables import CountTables
from features.title_index import TitleIndex
from serving.dense_weights import DenseWeights
from serving.near_rows import NearRows
from serving.serving_model import ServingModel
from trainer.id_map import IdMap
from trainer.version_delta import Delta
from trainer.version_files import ModelVersion, Version, VersionError
from trainer.version_image import VersionImage

_NO_ROWS: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


class Readers:
    """How many requests hold a buffer, counted on the event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._nobody = asyncio.Event()
        self._nobody.set()

    def enter(self) -> None:
        """Count one more."""
        self.count += 1
        self._nobody.clear()

    def leave(self) -> None:
        """Count one less."""
        self.count -= 1
        if not self.count:
            self._nobody.set()

    async def wait_until_gone(self, timeout_s: float) -> bool:
        """Wait for the last one to leave; False where that takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._nobody.wait()
        except TimeoutError:
            return False
        return True


class ModelLease:
    """Holds a model for a request: while it is held, no delta is written into it."""

    __slots__ = ("_model", "_readers")

    def __init__(self, model: ServingModel | None, readers: Readers) -> None:
        self._model = model
        self._readers = readers

    def __enter__(self) -> ServingModel | None:
        self._readers.enter()
        return self._model

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._readers.leave()


@dataclass(frozen=True)
class ProvenDelta:
    """A delta whose own tensors are in order and whose weights pass their canary."""

    delta: Delta
    digest: str
    weights: DenseWeights
    num_bytes: int


class ModelBuffer:
    """A version that deltas change.

    Args:
        image: the version; its arrays become those of the buffer.
        weights: of that version.
    """

    def __init__(self, image: VersionImage, weights: DenseWeights) -> None:
        self.readers = Readers()
        self.image = image
        self.weights = weights
        self._item_rows = {item_id: row for row, item_id in enumerate(image.item_ids)}
        self._user_rows = IdMap()
        for row, user_id in enumerate(image.user_ids):
            self._user_rows[user_id] = row
        self._titles = TitleIndex.from_tokens(image.tensor("title_tokens"))

    @classmethod
    def of_version(cls, version: Version, weights: DenseWeights) -> ModelBuffer:
        """Take over a version that was just read: its arrays are not copied."""
        return cls(VersionImage(version, is_ours=True), weights)

    def copy(self) -> ModelBuffer:
        """Return a second buffer of this version; this one may be read meanwhile, but not written."""
        made = object.__new__(ModelBuffer)
        made.readers = Readers()
        made.image = self.image.copy()
        made.weights = self.weights
        made._item_rows = self._item_rows.copy()
        made._user_rows = self._user_rows.copy()
        made._titles = self._titles.copy(made.image.tensor("title_tokens"))
        return made

    @property
    def version(self) -> ModelVersion:
        """What it holds now."""
        return ModelVersion.parse(self.image.manifest.version)

    def apply(self, proven: ProvenDelta) -> None:
        """Become the next version.

        Raises:
            VersionError: the delta does not belong to this version; nothing has changed then.
        """
        delta, image = proven.delta, self.image
        self._check_ids(delta)
        num_items = image.num_items
        titles = delta.changes.get("title_tokens")
        title_rows = _NO_ROWS if titles is None else titles.places
        before = image.tensor("title_tokens")
        were_empty = not (before[title_rows[title_rows < num_items], 0] >= 0).any()
        gone = image.user_ids[max(0, delta.manifest.num_users) :]
        changed_rows = delta.user_rows.tolist()
        gone += [image.user_ids[row] for row in changed_rows if row < image.num_users]
        image.apply(delta, proven.digest)
        for row, item_id in enumerate(delta.item_ids, num_items):
            self._item_rows[item_id] = row
        for user_id in gone:  # All go before any comes: a user whose row moved is among both.
            if user_id in self._user_rows:
                del self._user_rows[user_id]
        for row, user_id in zip(changed_rows, delta.user_ids, strict=True):
            self._user_rows[user_id] = row
        self._titles.take_over(image.tensor("title_tokens"), title_rows, were_empty)
        self.weights = proven.weights

    def model(
        self, schema_hash: str, table_rows: NDArray[np.int64] = _NO_ROWS, near: NearRows | None = None
    ) -> ServingModel:
        """Return the version as it serves: views, which the next `apply` changes."""
        image = self.image
        return ServingModel(
            version=image.manifest.version,
            manifest=image.manifest,
            item_ids=image.item_ids,
            item_rows=self._item_rows,
            item_vectors=image.tensor("item_vectors"),
            user_rows=self._user_rows,
            user_embedding=image.tensor("user_embedding"),
            counts=CountTables.from_arrays(
                {name: image.tensor(name) for name in CountTables.array_names()}, self._titles
            ),
            network=self.weights.network,
            ranker=self.weights.ranker,
            pre_ranker=self.weights.pre_ranker,
            projection=self.weights.projection,
            feature_schema_hash=schema_hash,
            table_rows=table_rows,
            near=near,
        )

    def _check_ids(self, delta: Delta) -> None:
        """Check that no id would stand in two rows: within a delta they are unique already."""
        known = [item_id for item_id in delta.item_ids if item_id in self._item_rows]
        free = {*delta.user_rows.tolist(), -1}
        rows = self._user_rows.rows_of(delta.user_ids).tolist()
        twice = [row for row in rows if row not in free and row < delta.manifest.num_users]
        if known or twice:
            version = delta.manifest.version
            raise VersionError("ids", f"delta {version} gives a second row to {len(known)} items, {len(twice)} users")
