"""Versions of the model in a store: written whole or not at all, read only when proven.

A version is `manifest.json` plus safetensors files (docs/design.md, "Versions"). This module needs neither torch nor
Kafka; what serving takes of versions, it takes from here.
"""

from __future__ import annotations

from pathlib import Path

from trainer.errors import StoreError, VersionError
from trainer.model_version import (
    ModelVersion,
    list_versions,
    pin_version,
    pinned_versions,
    prune_versions,
    unpin_version,
)
from trainer.version_bytes import VersionBytes, decode_version, encode_version
from trainer.version_manifest import Manifest
from trainer.version_store import LocalVersions, VersionStore, open_versions
from trainer.version_tensors import Version

__all__ = [
    "LocalVersions",
    "Manifest",
    "ModelVersion",
    "StoreError",
    "Version",
    "VersionBytes",
    "VersionError",
    "VersionStore",
    "decode_version",
    "encode_version",
    "list_versions",
    "open_versions",
    "pin_version",
    "pinned_versions",
    "prune_versions",
    "read_version",
    "unpin_version",
    "write_version",
]


def write_version(store_dir: Path, version: Version) -> str:
    """Write a version under `store_dir/EPOCH.SEQ` with one atomic rename, durable when this returns.

    Returns:
        The sha256 of the manifest, to be announced.

    Raises:
        VersionError: the version exists already, or its tensors do not belong together.
        OSError: the disk refuses; nothing is visible then.
    """
    encoded = encode_version(version)
    LocalVersions(store_dir).put(encoded)
    return encoded.digest


def read_version(store_dir: Path, version: str, expected_manifest_sha256: str | None = None) -> Version:
    """Read a version of a directory and prove it; see `LocalVersions.read`.

    Raises:
        VersionError: anything is missing or not as the manifest says.
    """
    return LocalVersions(store_dir).read(version, expected_manifest_sha256)
