"""A version in memory: its tensors, where each lies in files, and what must hold between them.

Letters: `N` items, `U` users, `D` embedding, `K` neighbours, `S` successors, `T` title tokens, `C` canary rows, `F`
ranker inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.title_index import MAX_TOKENS, NUM_BUCKETS
from trainer.errors import VersionError
from trainer.version_manifest import Manifest

LAYOUT: dict[str, dict[str, tuple[type, int]]] = {
    "items.safetensors": {
        "item_ids": (np.uint8, 1),
        "item_id_ends": (np.int64, 1),
        "item_vectors": (np.float32, 2),
    },
    "users.safetensors": {
        "user_ids": (np.uint8, 1),
        "user_id_ends": (np.int64, 1),
        "user_embedding": (np.float32, 2),
    },
    "counts.safetensors": {
        "neighbours": (np.int32, 2),
        "weights": (np.float32, 2),
        "totals": (np.float32, 1),
        "successors": (np.int32, 2),
        "successor_weights": (np.float32, 2),
        "successor_totals": (np.float32, 1),
        "title_tokens": (np.int32, 2),
        "seen_ms": (np.int64, 2),
    },
    "canary.safetensors": {"canary_inputs": (np.float32, 2)},
}
"""File -> tensor -> (dtype, number of dimensions). `dense.safetensors` beside them holds float32 of any shape."""

DENSE_FILE = "dense.safetensors"
_ID_TENSORS = ("item_ids", "item_id_ends", "user_ids", "user_id_ends")


@dataclass(frozen=True)
class Version:
    """One immutable version: everything a server needs to answer."""

    manifest: Manifest
    dense: Mapping[str, NDArray[np.float32]]
    """Weights of tower and ranker, names as in `trainer.model`."""
    item_ids: Sequence[str]
    item_vectors: NDArray[np.float32]
    """(N, D): the retrieval index, and what the user tower averages over the history."""
    user_ids: Sequence[str]
    user_embedding: NDArray[np.float32]
    """(U, D)"""
    neighbours: NDArray[np.int32]
    """(N, K) co-visitation rows, -1 where empty."""
    weights: NDArray[np.float32]
    """(N, K)"""
    totals: NDArray[np.float32]
    """(N,)"""
    successors: NDArray[np.int32]
    """(N, S) rows that came right after, -1 where empty."""
    successor_weights: NDArray[np.float32]
    """(N, S)"""
    successor_totals: NDArray[np.float32]
    """(N,)"""
    title_tokens: NDArray[np.int32]
    """(N, T) hashed words of the titles, -1 where there is no more."""
    seen_ms: NDArray[np.int64]
    """(N, 2) first and last event, 0 before any."""
    canary_inputs: NDArray[np.float32]
    """(C, F); the ranker must give `manifest.canary_scores` for them."""
    manifest_sha256: str = ""
    """Hex digest of `manifest.json`; empty before the version is written."""

    @property
    def chain_sha256(self) -> str:
        """What the next delta must name as its parent."""
        return self.manifest.delta_sha256 or self.manifest_sha256


def check_tensors(version: Version) -> None:
    """Check dtypes, dimensions, that the shapes belong together, and that every number is finite."""
    name = version.manifest.version
    for tensor_name, (dtype, dimensions) in {k: v for layout in LAYOUT.values() for k, v in layout.items()}.items():
        if tensor_name not in _ID_TENSORS:  # Those are checked where they are decoded.
            _check_tensor(name, tensor_name, getattr(version, tensor_name), dtype, dimensions)
    for tensor_name, tensor in version.dense.items():
        _check_tensor(name, tensor_name, tensor, np.float32, tensor.ndim)
    _check_lengths(version)
    _check_rows(name, "neighbours", version.neighbours, len(version.item_ids))
    _check_rows(name, "successors", version.successors, len(version.item_ids))
    _check_rows(name, "title_tokens", version.title_tokens, NUM_BUCKETS)


def _check_rows(version: str, tensor_name: str, rows: NDArray[np.int32], size: int) -> None:
    """Check that compiled code may use these rows as they are: it checks no bounds."""
    if ((rows < -1) | (rows >= max(1, size))).any():
        raise VersionError("bad_rows", f"{version}: {tensor_name} must lie in -1 .. {size - 1}")


def _check_tensor(version: str, name: str, tensor: NDArray[Any], dtype: type, dimensions: int) -> None:
    if tensor.dtype != dtype or tensor.ndim != dimensions:
        wanted = f"{np.dtype(dtype)} of {dimensions} dimensions"
        raise VersionError("tensor_shape", f"{version}: {name} is {tensor.dtype}{tensor.shape}, must be {wanted}")
    if dtype == np.float32 and not np.isfinite(tensor).all():
        raise VersionError("not_finite", f"{version}: {name} holds NaN or infinity")


def _check_lengths(version: Version) -> None:
    num_items, num_users = len(version.item_ids), len(version.user_ids)
    embedding_dim = version.item_vectors.shape[1]
    neighbours = version.neighbours.shape[1]
    wanted = {
        "item_vectors": (num_items, embedding_dim),
        "user_embedding": (num_users, embedding_dim),
        "neighbours": (num_items, neighbours),
        "weights": (num_items, neighbours),
        "totals": (num_items,),
        "successors": (num_items, version.successors.shape[1]),
        "successor_weights": (num_items, version.successors.shape[1]),
        "successor_totals": (num_items,),
        "title_tokens": (num_items, MAX_TOKENS),
        "seen_ms": (num_items, 2),
        "canary_inputs": (len(version.manifest.canary_scores), version.canary_inputs.shape[1]),
    }
    for name, shape in wanted.items():
        if getattr(version, name).shape != shape:
            found = getattr(version, name).shape
            raise VersionError("tensor_shape", f"{version.manifest.version}: {name} is {found}, must be {shape}")
