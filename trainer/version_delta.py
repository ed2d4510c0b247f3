"""What one version changes of the one before it, as bytes that prove themselves.

A delta names its parent by digest, so deltas form a chain: whoever applied every link holds, bit for bit, what the
trainer held (`trainer/version_image.py`). Letters: `r` changed places, `N` items, `U` users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trainer.errors import VersionError
from trainer.id_codec import decode_ids, encode_ids
from trainer.version_manifest import FORMAT, Manifest

ROW_TENSORS: dict[str, type] = {
    "item_vectors": np.float32,
    "title_tokens": np.int32,
    "seen_ms": np.int64,
    "user_embedding": np.float32,
}
"""Tensors that change by whole rows: where one number of a row changes, all do."""
CELL_TENSORS: dict[str, type] = {
    "neighbours": np.int32,
    "weights": np.float32,
    "totals": np.float32,
    "successors": np.int32,
    "successor_weights": np.float32,
    "successor_totals": np.float32,
}
"""Tensors that change by single numbers: one event touches one neighbour of an item, not all 128."""
DTYPES: dict[str, type] = ROW_TENSORS | CELL_TENSORS

_MAGIC = b"HRD1"
_DENSE = "dense/"
_PLACES, _VALUES = "/places", "/values"
_MANIFEST_BYTES_LIMIT = 1 << 20


@dataclass(frozen=True)
class Change:
    """Numbers of one tensor that are others now."""

    places: NDArray[np.int64]
    """(r,) rows, or `row * width + column` of single numbers; ascending, each once."""
    values: NDArray[Any]
    """(r, width), or (r,)."""


@dataclass(frozen=True)
class Delta:
    """The step from one version to the next."""

    manifest: Manifest
    dense: Mapping[str, NDArray[np.float32]]
    """All dense weights: few numbers, and every step changes them."""
    canary_inputs: NDArray[np.float32]
    """(C, F)"""
    item_ids: Sequence[str]
    """Of the rows behind those of the parent, up to `manifest.num_items`."""
    user_rows: NDArray[np.int64]
    """(u,) rows that belong to another user than before, ascending; all rows behind those of the parent are among
    them. Users' rows may also become fewer: `manifest.num_users` counts."""
    user_ids: Sequence[str]
    """(u,) whose they are."""
    changes: Mapping[str, Change]
    """By tensor; only those that changed."""


def encode_delta(delta: Delta) -> bytes:
    """Return the payload that `decode_delta` reads; its sha256 is the delta's digest."""
    item_ids, item_id_ends = encode_ids(delta.item_ids)
    user_ids, user_id_ends = encode_ids(delta.user_ids)
    tensors: dict[str, NDArray[Any]] = {
        "canary_inputs": delta.canary_inputs,
        "item_ids": item_ids,
        "item_id_ends": item_id_ends,
        "user_ids": user_ids,
        "user_id_ends": user_id_ends,
        "user_rows": delta.user_rows,
    }
    tensors |= {_DENSE + name: tensor for name, tensor in delta.dense.items()}
    for name, change in delta.changes.items():
        tensors |= {name + _PLACES: change.places, name + _VALUES: change.values}
    manifest = msgspec.json.encode(msgspec.structs.replace(delta.manifest, format=FORMAT))
    content = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    return b"".join((_MAGIC, len(manifest).to_bytes(4, "little"), manifest, content))


def digest_of(payload: bytes) -> str:
    """Return the digest by which the next delta names this one."""
    return hashlib.sha256(payload).hexdigest()


def decode_delta(payload: bytes) -> Delta:
    """Decode a payload and check what can be checked without the version it changes.

    Raises:
        VersionError: it is no delta, or a tensor of it cannot be used.
    """
    manifest, content = split_payload(payload)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise VersionError("safetensors", f"delta {manifest.version} cannot be decoded: {error}") from error
    try:
        delta = _delta_of(manifest, tensors)
    except KeyError as error:
        raise VersionError("tensors", f"delta {manifest.version} lacks {error}") from error
    _check(delta, tensors)
    return delta


def split_payload(payload: bytes) -> tuple[Manifest, bytes]:
    """Return the manifest and what stands behind it; a payload's first chunk is enough for the manifest.

    Raises:
        VersionError: there is none, or of another format.
    """
    size = int.from_bytes(payload[4:8], "little")
    if payload[:4] != _MAGIC or not 0 < size <= min(_MANIFEST_BYTES_LIMIT, len(payload) - 8):
        raise VersionError("no_delta", f"{len(payload)} bytes that begin with {payload[:8]!r} are no delta")
    try:
        manifest = msgspec.json.decode(payload[8 : 8 + size], type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VersionError("manifest", f"the manifest of a delta cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise VersionError("format", f"delta {manifest.version} has format {manifest.format}, this code reads {FORMAT}")
    if not np.isfinite(manifest.canary_scores).all():
        raise VersionError("not_finite", f"delta {manifest.version} expects canary scores that are not finite")
    return manifest, payload[8 + size :]


def _delta_of(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> Delta:
    return Delta(
        manifest=manifest,
        dense={name.removeprefix(_DENSE): tensor for name, tensor in tensors.items() if name.startswith(_DENSE)},
        canary_inputs=tensors["canary_inputs"],
        item_ids=decode_ids(tensors, "item"),
        user_rows=tensors["user_rows"],
        user_ids=decode_ids(tensors, "user"),
        changes={
            name: Change(tensors[name + _PLACES], tensors[name + _VALUES])
            for name in DTYPES
            if name + _PLACES in tensors or name + _VALUES in tensors
        },
    )


def _check(delta: Delta, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check dtypes, dimensions, lengths, order and finiteness."""
    version = delta.manifest.version
    for name, tensor in tensors.items():
        if tensor.dtype == np.float32 and not np.isfinite(tensor).all():
            raise VersionError("not_finite", f"delta {version}: {name} holds NaN or infinity")
    wrong = [name for name, tensor in delta.dense.items() if tensor.dtype != np.float32]
    if delta.canary_inputs.dtype != np.float32 or delta.canary_inputs.ndim != 2:
        wrong.append("canary_inputs")
    if not _are_places(delta.user_rows) or len(delta.user_rows) != len(delta.user_ids):
        wrong.append("user_rows")
    for name, change in delta.changes.items():
        dimensions = 2 if name in ROW_TENSORS else 1
        values = change.values
        is_fit = values.dtype == DTYPES[name] and values.ndim == dimensions and len(values) == len(change.places)
        if not is_fit or not _are_places(change.places):
            wrong.append(name)
    if wrong:
        raise VersionError("tensor_shape", f"delta {version}: {wrong[:5]} have another type or shape than deltas have")


def _are_places(places: NDArray[Any]) -> bool:
    return bool(places.dtype == np.int64 and places.ndim == 1 and (np.diff(places, prepend=-1) > 0).all())
