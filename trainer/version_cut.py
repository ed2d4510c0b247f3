"""What of a version may differ from the one before it, copied out of the learner at a batch boundary.

The learner copies only rows that were touched; which of their numbers are others now is found by the publisher, in its
own thread, against the image of the version before. Letter: `t` touched rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trainer.version_delta import ROW_TENSORS, Change, Delta
from trainer.version_files import Manifest
from trainer.version_image import EMPTY, VersionImage


@dataclass(frozen=True)
class TouchedTensor:
    """Rows of one tensor as they are now."""

    rows: NDArray[np.int64]
    """(t,) ascending."""
    values: NDArray[Any]
    """(t, width), or (t,)."""


@dataclass(frozen=True)
class Cut:
    """The learner at a batch boundary, as far as it may differ from the last cut."""

    manifest: Manifest
    dense: Mapping[str, NDArray[np.float32]]
    canary_inputs: NDArray[np.float32]
    item_ids: Sequence[str]
    """Of all items; a list that only grows, so it is read up to `manifest.num_items`."""
    touched: Mapping[str, TouchedTensor]
    """By tensor. `item_vectors` has the rows of all items: one category's row is part of many."""
    user_ids: Sequence[str]
    """Of the touched rows of `user_embedding`."""


def delta_of(cut: Cut, image: VersionImage) -> Delta:
    """Return the step from an image to a cut."""
    manifest = msgspec.structs.replace(cut.manifest, parent_version=image.manifest.version, parent_sha256=image.digest)
    users = cut.touched["user_embedding"]
    before = image.user_ids
    is_other = np.fromiter(
        (row >= len(before) or before[row] != user_id for row, user_id in zip(users.rows, cut.user_ids, strict=True)),
        dtype=np.bool_,
        count=len(users.rows),
    )
    changes = {name: _change(name, touched, image, is_other) for name, touched in cut.touched.items()}
    return Delta(
        manifest=manifest,
        dense=cut.dense,
        canary_inputs=cut.canary_inputs,
        item_ids=cut.item_ids[image.num_items : manifest.num_items],
        user_rows=users.rows[is_other],
        user_ids=[user_id for user_id, other in zip(cut.user_ids, is_other.tolist(), strict=True) if other],
        changes={name: change for name, change in changes.items() if len(change.places)},
    )


def _change(name: str, touched: TouchedTensor, image: VersionImage, is_other_user: NDArray[np.bool_]) -> Change:
    """Return which of the touched numbers are others than in the image; a row of another user is sent whole."""
    before_all, now = image.tensor(name), touched.values
    before = np.full(now.shape, EMPTY.get(name, 0), dtype=now.dtype)
    is_known = touched.rows < len(before_all)
    before[is_known] = before_all[touched.rows[is_known]]
    is_changed = now != before
    if name in ROW_TENSORS:
        is_row = is_changed.any(axis=1)
        if name == "user_embedding":
            is_row |= is_other_user
        return Change(touched.rows[is_row], now[is_row])
    width = 1 if now.ndim == 1 else now.shape[1]
    row, column = np.nonzero(is_changed.reshape(len(now), width))
    return Change(touched.rows[row] * width + column, now.reshape(len(now), width)[row, column])
