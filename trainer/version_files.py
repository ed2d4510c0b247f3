"""Versions of the model as directories in the model store: written whole or not at all, read only when proven.

A version is `manifest.json` plus safetensors files (docs/design.md, "Versions"). Safetensors itself lets flipped
bits, NaN and wrong shapes through, so digests, shapes, dtypes, ids and finiteness are checked here, before any
weight is used. This module needs neither torch nor Kafka; what serving takes of versions, it takes from here.
Letters: `N` items, `U` users, `D` embedding, `K` neighbours, `S` successors, `T` title tokens, `C` canary rows,
`F` ranker inputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from features.title_index import MAX_TOKENS, NUM_BUCKETS
from trainer.durable_files import write_directory
from trainer.errors import VersionError
from trainer.model_version import (
    MANIFEST_NAME,
    ModelVersion,
    list_versions,
    pin_version,
    pinned_versions,
    prune_versions,
    unpin_version,
)

__all__ = [
    "FORMAT",
    "FileEntry",
    "Manifest",
    "ModelVersion",
    "TensorEntry",
    "Version",
    "VersionError",
    "decode_ids",
    "encode_ids",
    "list_versions",
    "pin_version",
    "pinned_versions",
    "prune_versions",
    "read_manifest",
    "read_version",
    "unpin_version",
    "write_version",
]

FORMAT = 4
MAX_ID_BYTES = 128
_MANIFEST_BYTES_LIMIT = 16 * 2**20

_LAYOUT: dict[str, dict[str, tuple[type, int]]] = {
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

_DENSE_FILE = "dense.safetensors"
_ID_TENSORS = ("item_ids", "item_id_ends", "user_ids", "user_id_ends")


class FileEntry(msgspec.Struct, frozen=True):
    """What one file of a version must be."""

    path: str
    sha256: str
    bytes: int


class TensorEntry(msgspec.Struct, frozen=True):
    """What one tensor of a version must be."""

    dtype: str
    shape: tuple[int, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot or a delta says of itself; the schema of record is `protos/models.proto`.

    In a snapshot it is `manifest.json`, with `files` and `tensors` filled on writing; in a delta it stands in front of
    the tensors.
    """

    format: int = FORMAT
    name: str
    version: str
    parent_version: str = ""
    created_time_ms: int
    feature_service: str = ""
    feature_schema_hash: str
    config_hash: str = ""
    sample_offsets: dict[str, int] = {}
    metrics: dict[str, float] = {}
    files: dict[str, FileEntry] = {}
    tensors: dict[str, TensorEntry] = {}
    canary_scores: tuple[float, ...] = ()
    heads: tuple[str, ...] = ()
    oldest_event_time_ms: int = 0
    """Of what this version learnt beyond its parent; 0 where it learnt nothing."""
    newest_event_time_ms: int = 0
    newest_broker_time_ms: int = 0
    parent_sha256: str = ""
    """Of a delta: chain digest of the version that it changes."""
    num_items: int = 0
    num_users: int = 0
    delta_sha256: str = ""
    """Of a snapshot: digest of the delta that gave the same version; empty where the snapshot opens an epoch."""
    delta_offset: int = -1
    """Of a snapshot: where `headrace.deltas.v1` goes on behind it; -1 where Kafka did not say."""


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


def write_version(store_dir: Path, version: Version) -> str:
    """Write a version under `store_dir/EPOCH.SEQ` with one atomic rename, durable when this returns.

    Returns:
        The sha256 of the manifest, to be announced.

    Raises:
        VersionError: the version exists already, or its tensors do not belong together.
        OSError: the disk refuses; nothing is visible then.
    """
    target = store_dir / str(ModelVersion.parse(version.manifest.version))
    if target.exists():
        raise VersionError("exists", f"version {target.name} is in the store already; versions are never rewritten")
    _check_tensors(version)
    files, manifest = _files_and_manifest(version)
    write_directory(target, {**files, MANIFEST_NAME: manifest})
    return hashlib.sha256(manifest).hexdigest()


def read_version(store_dir: Path, version: str, expected_manifest_sha256: str | None = None) -> Version:
    """Read a version and prove it: digests, sizes, dtypes, shapes, ids and finiteness.

    Args:
        store_dir: directory of the model in the store.
        version: `EPOCH.SEQ`.
        expected_manifest_sha256: the announced digest; without it the manifest is only checked for consistency.

    Raises:
        VersionError: anything is missing or not as the manifest says.
    """
    name = str(ModelVersion.parse(version))
    directory = store_dir / name
    raw = _read_file(directory / MANIFEST_NAME, _MANIFEST_BYTES_LIMIT)
    digest = hashlib.sha256(raw).hexdigest()
    if expected_manifest_sha256 is not None and digest != expected_manifest_sha256:
        raise VersionError("manifest_digest", f"manifest of {name} has sha256 {digest}, announced was another")
    manifest = _decode_manifest(raw, name)
    tensors = _read_tensors(directory, manifest)
    result = Version(
        manifest=manifest,
        dense=tensors[_DENSE_FILE],
        item_ids=decode_ids(tensors["items.safetensors"], "item"),
        item_vectors=tensors["items.safetensors"]["item_vectors"],
        user_ids=decode_ids(tensors["users.safetensors"], "user"),
        user_embedding=tensors["users.safetensors"]["user_embedding"],
        canary_inputs=tensors["canary.safetensors"]["canary_inputs"],
        manifest_sha256=digest,
        **{name: tensors["counts.safetensors"][name] for name in _LAYOUT["counts.safetensors"]},
    )
    _check_tensors(result)
    return result


def read_manifest(store_dir: Path, version: str) -> Manifest:
    """Read what a version says of itself, without proving its files.

    Raises:
        VersionError: it is missing or cannot be read.
    """
    name = str(ModelVersion.parse(version))
    return _decode_manifest(_read_file(store_dir / name / MANIFEST_NAME, _MANIFEST_BYTES_LIMIT), name)


def _files_and_manifest(version: Version) -> tuple[dict[str, bytes], bytes]:
    """Return the bytes of every tensor file and of the manifest that names their digests."""
    files: dict[str, bytes] = {}
    entries: dict[str, FileEntry] = {}
    tensors: dict[str, TensorEntry] = {}
    for file_name, content in _files_of(version).items():
        data = files[file_name] = save(content)
        entries[file_name] = FileEntry(file_name, hashlib.sha256(data).hexdigest(), len(data))
        tensors |= {name: TensorEntry(str(tensor.dtype), tensor.shape) for name, tensor in content.items()}
    manifest = msgspec.structs.replace(version.manifest, format=FORMAT, files=entries, tensors=tensors)
    return files, msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def _files_of(version: Version) -> dict[str, dict[str, NDArray[Any]]]:
    item_ids, item_id_ends = encode_ids(version.item_ids)
    user_ids, user_id_ends = encode_ids(version.user_ids)
    tensors: dict[str, NDArray[Any]] = {
        "item_ids": item_ids,
        "item_id_ends": item_id_ends,
        "item_vectors": version.item_vectors,
        "user_ids": user_ids,
        "user_id_ends": user_id_ends,
        "user_embedding": version.user_embedding,
        "neighbours": version.neighbours,
        "weights": version.weights,
        "totals": version.totals,
        "successors": version.successors,
        "successor_weights": version.successor_weights,
        "successor_totals": version.successor_totals,
        "title_tokens": version.title_tokens,
        "seen_ms": version.seen_ms,
        "canary_inputs": version.canary_inputs,
    }
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    files = {file_name: {name: contiguous[name] for name in layout} for file_name, layout in _LAYOUT.items()}
    return {_DENSE_FILE: {name: np.ascontiguousarray(tensor) for name, tensor in version.dense.items()}, **files}


def _decode_manifest(raw: bytes, version: str) -> Manifest:
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise VersionError("manifest", f"manifest of {version} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise VersionError("format", f"{version} has format {manifest.format}, this code reads {FORMAT}; upgrade it")
    if manifest.version != version:
        raise VersionError("manifest", f"the directory {version} holds the manifest of {manifest.version!r:.80}")
    if set(manifest.files) != {_DENSE_FILE, *_LAYOUT}:
        raise VersionError("files", f"{version} lists the files {sorted(manifest.files)}, not those of the layout")
    if not np.isfinite(manifest.canary_scores).all():
        raise VersionError("not_finite", f"{version} expects canary scores that are not finite")
    return manifest


def _read_tensors(directory: Path, manifest: Manifest) -> dict[str, dict[str, NDArray[Any]]]:
    """Read and verify every file; names come from the layout, never from the manifest, so no path can get in."""
    files = {name: _read_tensor_file(directory, name, manifest) for name in (_DENSE_FILE, *_LAYOUT)}
    found = {name: tensor for content in files.values() for name, tensor in content.items()}
    if set(found) != set(manifest.tensors):
        odd = sorted(set(found) ^ set(manifest.tensors))
        raise VersionError("tensors", f"{manifest.version}: manifest and files differ in the tensors {odd[:5]}")
    for name, tensor in found.items():
        entry = manifest.tensors[name]
        if str(tensor.dtype) != entry.dtype or tensor.shape != entry.shape:
            raise VersionError(
                "tensor_shape",
                f"{manifest.version}: {name} is {tensor.dtype}{tensor.shape}, manifest: {entry.dtype}{entry.shape}",
            )
    return files


def _read_tensor_file(directory: Path, name: str, manifest: Manifest) -> dict[str, NDArray[Any]]:
    entry = manifest.files[name]
    data = _read_file(directory / name, entry.bytes)
    if len(data) != entry.bytes:
        raise VersionError("file_size", f"{manifest.version}/{name} has {len(data)} bytes, manifest: {entry.bytes}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise VersionError("file_digest", f"{manifest.version}/{name} has sha256 {digest}, manifest: {entry.sha256}")
    try:
        content = load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise VersionError("safetensors", f"{manifest.version}/{name} cannot be decoded: {error}") from error
    missing = set(_LAYOUT.get(name, {})) - set(content)
    if missing:
        raise VersionError("tensors", f"{manifest.version}/{name} lacks {sorted(missing)}")
    return dict(content)


def _check_tensors(version: Version) -> None:
    """Check dtypes, dimensions, that the shapes belong together, and that every number is finite."""
    name = version.manifest.version
    for tensor_name, (dtype, dimensions) in {k: v for layout in _LAYOUT.values() for k, v in layout.items()}.items():
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


def encode_ids(ids: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Lay ids out as one run of UTF-8 bytes and the end of each, what `decode_ids` reads."""
    encoded = [text.encode() for text in ids]
    ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends


def decode_ids(tensors: Mapping[str, NDArray[Any]], entity: str) -> list[str]:
    """Return the ids in `ENTITY_ids` and `ENTITY_id_ends`.

    Raises:
        VersionError: they are no ids, or not unique.
    """
    data, ends = tensors[f"{entity}_ids"], tensors[f"{entity}_id_ends"]
    if data.dtype != np.uint8 or data.ndim != 1 or ends.dtype != np.int64 or ends.ndim != 1:
        raise VersionError("ids", f"{entity} ids are {data.dtype}{data.shape} with ends {ends.dtype}{ends.shape}")
    lengths = np.diff(ends, prepend=np.int64(0))
    total = int(ends[-1]) if len(ends) else 0
    if total != len(data) or (lengths < 1).any() or (lengths > MAX_ID_BYTES).any():
        raise VersionError("ids", f"{entity} ids do not fill their {len(data)} bytes with 1 to {MAX_ID_BYTES} each")
    raw = data.tobytes()
    starts = (ends - lengths).tolist()
    try:
        ids = [raw[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=True)]
    except UnicodeDecodeError as error:
        raise VersionError("ids", f"{entity} ids are not UTF-8: {error}") from error
    if len(set(ids)) != len(ids):
        raise VersionError("ids", f"{entity} ids are not unique")
    return ids


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise VersionError("missing", f"cannot read {path.parent.name}/{path.name}: {error.strerror}") from error
