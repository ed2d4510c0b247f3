"""A version in memory that deltas change in place: what publisher and servers hold of the chain.

Arrays have room to grow and are seen through views of the rows in use. A delta is checked whole before its first number
is written, so a refused one leaves the image as it was. Letters: `N` items, `U` users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from features.grown import grown
from features.title_index import NUM_BUCKETS
from trainer.errors import VersionError
from trainer.version_delta import CELL_TENSORS, DTYPES, ROW_TENSORS, Change, Delta
from trainer.version_files import Manifest, Version

EMPTY = {"neighbours": -1, "successors": -1, "title_tokens": -1}
"""What rows hold before a delta fills them; all other tensors begin at 0."""


class VersionImage:
    """One version and room for the next ones.

    Args:
        version: copied, unless `is_ours`.
        is_ours: nobody else holds the version, so its arrays are taken as they are.
        digest: what the next delta must name as its parent; that of `version` by default.
    """

    def __init__(self, version: Version, is_ours: bool = False, digest: str = "") -> None:
        take = _usable if is_ours else np.array
        self.manifest: Manifest = version.manifest
        self.digest = digest or version.chain_sha256
        """What the next delta must name as its parent."""
        self.dense: dict[str, NDArray[np.float32]] = {name: take(tensor) for name, tensor in version.dense.items()}
        self.canary_inputs = take(version.canary_inputs)
        self.item_ids = list(version.item_ids)
        self.user_ids = list(version.user_ids)
        self._arrays: dict[str, NDArray[Any]] = {name: take(getattr(version, name)) for name in DTYPES}

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.item_ids)

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.user_ids)

    def tensor(self, name: str) -> NDArray[Any]:
        """Return a view of the rows in use; the next `apply` changes it."""
        return self._arrays[name][: self._size_of(name)]

    def apply(self, delta: Delta, digest: str) -> None:
        """Become the next version.

        Args:
            delta: as `decode_delta` returned it.
            digest: of its payload.

        Raises:
            VersionError: it changes another version than this (`gap`), or does not fit; nothing has changed then.
        """
        self._check(delta)
        manifest = delta.manifest
        self.item_ids.extend(delta.item_ids)
        del self.user_ids[manifest.num_users :]
        self.user_ids.extend([""] * (manifest.num_users - len(self.user_ids)))
        for row, user_id in zip(delta.user_rows.tolist(), delta.user_ids, strict=True):
            self.user_ids[row] = user_id
        for name, array in self._arrays.items():
            self._arrays[name] = grown(array, self._size_of(name), EMPTY.get(name, 0), by=1.5)
        for name, change in delta.changes.items():
            array = self._arrays[name]
            if name in ROW_TENSORS:
                array[change.places] = change.values
            else:
                array.reshape(-1)[change.places] = change.values
        self.dense = dict(delta.dense)
        self.canary_inputs = delta.canary_inputs
        self.manifest, self.digest = manifest, digest

    def copy(self) -> VersionImage:
        """Return a second image of this version; both go on by themselves."""
        return VersionImage(self.as_version(self.manifest), digest=self.digest)

    def as_version(self, manifest: Manifest) -> Version:
        """Return this as a version of views, to be written before the next `apply`."""
        return Version(
            manifest=manifest,
            dense=self.dense,
            item_ids=self.item_ids,
            user_ids=self.user_ids,
            canary_inputs=self.canary_inputs,
            **cast(Any, {name: self.tensor(name) for name in DTYPES}),
        )

    def _size_of(self, name: str) -> int:
        return self.num_users if name == "user_embedding" else self.num_items

    def _check(self, delta: Delta) -> None:
        manifest, version = delta.manifest, delta.manifest.version
        if manifest.parent_sha256 != self.digest:
            raise VersionError(
                "gap", f"delta {version} changes {manifest.parent_version}, but {self.manifest.version} is what is here"
            )
        if manifest.feature_schema_hash != self.manifest.feature_schema_hash:
            raise VersionError("feature_schema", f"delta {version} has another feature schema than its parent")
        if {name: tensor.shape for name, tensor in delta.dense.items()} != _shapes(self.dense):
            raise VersionError("dense_tensors", f"delta {version} has other dense tensors than its parent")
        if delta.canary_inputs.shape != (len(manifest.canary_scores), self.canary_inputs.shape[1]):
            raise VersionError("tensor_shape", f"delta {version}: canary_inputs is {delta.canary_inputs.shape}")
        if self.num_items + len(delta.item_ids) != manifest.num_items or manifest.num_users < 0:
            raise VersionError("ids", f"delta {version} does not lead to {manifest.num_items} items")
        self._check_users(delta)
        for name, change in delta.changes.items():
            self._check_change(version, name, change, manifest)

    def _check_users(self, delta: Delta) -> None:
        version, rows, num_users = delta.manifest.version, delta.user_rows, delta.manifest.num_users
        num_new = max(0, num_users - self.num_users)
        if (len(rows) and rows[-1] >= num_users) or int((rows >= self.num_users).sum()) != num_new:
            raise VersionError("ids", f"delta {version} does not name the users of all its {num_users} rows")

    def _check_change(self, version: str, name: str, change: Change, manifest: Manifest) -> None:
        width = 1 if self._arrays[name].ndim == 1 else self._arrays[name].shape[1]
        size = manifest.num_users if name == "user_embedding" else manifest.num_items
        bound = size if name in ROW_TENSORS else size * width
        if name in ROW_TENSORS and change.values.shape[1] != width:
            raise VersionError("tensor_shape", f"delta {version}: rows of {name} have {width} numbers")
        if len(change.places) and not 0 <= change.places[0] <= change.places[-1] < bound:
            raise VersionError("bad_rows", f"delta {version}: places of {name} must lie in 0 .. {bound - 1}")
        if change.values.dtype == np.int32:  # Rows of items, or buckets of words: compiled code checks no bounds.
            limit = NUM_BUCKETS if name == "title_tokens" else manifest.num_items
            if ((change.values < -1) | (change.values >= limit)).any():
                raise VersionError("bad_rows", f"delta {version}: {name} must lie in -1 .. {limit - 1}")


def _usable(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that can be written and that compiled code takes, itself where it is one."""
    return np.require(array, requirements=["C", "W", "A"])


def _shapes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


assert set(ROW_TENSORS).isdisjoint(CELL_TENSORS)
