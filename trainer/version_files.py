"""Versions of the model as directories in the model store: written whole or not at all, read only when proven.

A version is `manifest.json` plus safetensors files (docs/design.md, "Versions"). Safetensors itself lets flipped
bits, NaN and wrong shapes through, so digests, shapes, dtypes, ids and finiteness are checked here, before any
weight is used. This module needs neither torch nor Kafka; what serving takes of versions, it takes from here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trainer.durable_files import write_directory
from trainer.errors import VersionError
from trainer.id_codec import decode_ids, encode_ids
from trainer.model_version import (
    MANIFEST_NAME,
    ModelVersion,
    list_versions,
    pin_version,
    pinned_versions,
    prune_versions,
    unpin_version,
)
from trainer.version_manifest import FORMAT, MANIFEST_BYTES_LIMIT, FileEntry, Manifest, TensorEntry, decode_manifest
from trainer.version_tensors import DENSE_FILE, LAYOUT, Version, check_tensors

__all__ = [
    "Manifest",
    "ModelVersion",
    "Version",
    "VersionError",
    "list_versions",
    "pin_version",
    "pinned_versions",
    "prune_versions",
    "read_manifest",
    "read_version",
    "unpin_version",
    "write_version",
]

_FILE_NAMES = (DENSE_FILE, *LAYOUT)


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
    check_tensors(version)
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
    raw = _read_file(directory / MANIFEST_NAME, MANIFEST_BYTES_LIMIT)
    digest = hashlib.sha256(raw).hexdigest()
    if expected_manifest_sha256 is not None and digest != expected_manifest_sha256:
        raise VersionError("manifest_digest", f"manifest of {name} has sha256 {digest}, announced was another")
    manifest = decode_manifest(raw, name, _FILE_NAMES)
    tensors = _read_tensors(directory, manifest)
    result = Version(
        manifest=manifest,
        dense=tensors[DENSE_FILE],
        item_ids=decode_ids(tensors["items.safetensors"], "item"),
        item_vectors=tensors["items.safetensors"]["item_vectors"],
        user_ids=decode_ids(tensors["users.safetensors"], "user"),
        user_embedding=tensors["users.safetensors"]["user_embedding"],
        canary_inputs=tensors["canary.safetensors"]["canary_inputs"],
        manifest_sha256=digest,
        **{name: tensors["counts.safetensors"][name] for name in LAYOUT["counts.safetensors"]},
    )
    check_tensors(result)
    return result


def read_manifest(store_dir: Path, version: str) -> Manifest:
    """Read what a version says of itself, without proving its files.

    Raises:
        VersionError: it is missing or cannot be read.
    """
    name = str(ModelVersion.parse(version))
    return decode_manifest(_read_file(store_dir / name / MANIFEST_NAME, MANIFEST_BYTES_LIMIT), name, _FILE_NAMES)


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
    files = {file_name: {name: contiguous[name] for name in layout} for file_name, layout in LAYOUT.items()}
    return {DENSE_FILE: {name: np.ascontiguousarray(tensor) for name, tensor in version.dense.items()}, **files}


def _read_tensors(directory: Path, manifest: Manifest) -> dict[str, dict[str, NDArray[Any]]]:
    """Read and verify every file; names come from the layout, never from the manifest, so no path can get in."""
    files = {name: _read_tensor_file(directory, name, manifest) for name in _FILE_NAMES}
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
    missing = set(LAYOUT.get(name, {})) - set(content)
    if missing:
        raise VersionError("tensors", f"{manifest.version}/{name} lacks {sorted(missing)}")
    return dict(content)


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise VersionError("missing", f"cannot read {path.parent.name}/{path.name}: {error.strerror}") from error
