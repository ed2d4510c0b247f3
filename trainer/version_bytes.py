"""A version as bytes and back: what its files hold, and the proof that bytes which were read are exactly those.

Safetensors itself lets flipped bits, NaN and wrong shapes through, so digests, shapes, dtypes, ids and finiteness are
checked here, before any weight is used. Where the bytes lie is not known here (trainer/version_store.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trainer.errors import VersionError
from trainer.id_codec import decode_ids, encode_ids
from trainer.model_version import MANIFEST_NAME, ModelVersion
from trainer.version_manifest import FORMAT, MANIFEST_BYTES_LIMIT, FileEntry, Manifest, TensorEntry, decode_manifest
from trainer.version_tensors import DENSE_FILE, LAYOUT, Version, check_tensors

FILE_NAMES = (DENSE_FILE, *LAYOUT)

ReadFile = Callable[[str, int], bytes]
"""Reads one file of a version by its name, at most one byte more than it must have; raises `VersionError`."""


@dataclass(frozen=True)
class VersionBytes:
    """A version as it lies in a store."""

    version: str
    """EPOCH.SEQ."""
    files: dict[str, bytes]
    """Tensor files by name."""
    manifest: bytes
    """What proves them."""

    @property
    def digest(self) -> str:
        """The sha256 of the manifest, to be announced."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all tensor files."""
        return sum(map(len, self.files.values()))

    def read_file(self, name: str, _limit: int) -> bytes:
        """Return one file; see `ReadFile`."""
        return self.manifest if name == MANIFEST_NAME else self.files[name]


def encode_version(version: Version) -> VersionBytes:
    """Return the bytes of a version.

    Raises:
        VersionError: its tensors do not belong together.
    """
    name = str(ModelVersion.parse(version.manifest.version))
    check_tensors(version)
    files, manifest = files_and_manifest(version)
    return VersionBytes(name, files, manifest)


def decode_version(name: str, read_file: ReadFile, expected_sha256: str | None = None) -> Version:
    """Read a version and prove it: digests, sizes, dtypes, shapes, ids and finiteness.

    Args:
        name: `EPOCH.SEQ`.
        read_file: reads its files.
        expected_sha256: the announced digest of the manifest; without it that is only checked for consistency.

    Raises:
        VersionError: anything is missing or not as the manifest says.
    """
    raw = read_file(MANIFEST_NAME, MANIFEST_BYTES_LIMIT)
    digest = hashlib.sha256(raw).hexdigest()
    if expected_sha256 is not None and digest != expected_sha256:
        raise VersionError("manifest_digest", f"manifest of {name} has sha256 {digest}, announced was another")
    manifest = decode_manifest(raw, name, FILE_NAMES)
    tensors = _read_tensors(read_file, manifest)
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


def files_and_manifest(version: Version) -> tuple[dict[str, bytes], bytes]:
    """Return the bytes of every tensor file and of the manifest that names their digests, checking nothing."""
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


def _read_tensors(read_file: ReadFile, manifest: Manifest) -> dict[str, dict[str, NDArray[Any]]]:
    """Read and verify every file; names come from the layout, never from the manifest, so no path can get in."""
    files = {name: _read_tensor_file(read_file, name, manifest) for name in FILE_NAMES}
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


def _read_tensor_file(read_file: ReadFile, name: str, manifest: Manifest) -> dict[str, NDArray[Any]]:
    entry = manifest.files[name]
    data = read_file(name, entry.bytes)
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
