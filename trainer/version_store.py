"""The model store: the versions of one model in a place that is named by a URI, and the mark of those that stay.

Writers write a version whole or not at all, readers read nothing that is not proven. A directory is a store as it is
(`LocalVersions`); everything else is reached through fsspec (`trainer/object_versions.py`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from features.config import ConfigError
from features.model_store_config import ModelStoreConfig, StoreUri, masked, split_uri
from trainer.durable_files import delete_directory, remove_leftovers, write_directory
from trainer.errors import VersionError
from trainer.model_version import (
    MANIFEST_NAME,
    ModelVersion,
    list_versions,
    note_good,
    pin_version,
    pinned_versions,
    prune_versions,
    unpin_version,
)
from trainer.object_versions import ObjectVersions
from trainer.version_bytes import FILE_NAMES, ReadFile, VersionBytes, decode_version
from trainer.version_manifest import MANIFEST_BYTES_LIMIT, Manifest, decode_manifest
from trainer.version_tensors import Version

_CONNECT_S, _READ_S, _ATTEMPTS = 5, 15, 2
"""Of the S3 driver: a store that swallows requests costs half a minute, then it counts as away."""


class VersionStore(Protocol):
    """The versions of one model; calls ask the place itself, and may take as long as it does."""

    uri: str
    """Where, for people."""
    is_remote: bool
    """Whether calls go over a network: nobody who must not wait makes them."""

    def put(self, version: VersionBytes) -> None:
        """Write a version so that it is seen whole or not at all; durable when this returns."""

    def versions(self) -> list[ModelVersion]:
        """List the versions, oldest first."""

    def read(self, version: str, expected_sha256: str | None = None) -> Version:
        """Read a version and prove it."""

    def fetch(self, version: str, expected_sha256: str | None = None) -> VersionBytes:
        """Return the bytes of a version, not proven yet."""

    def manifest(self, version: str) -> Manifest:
        """Read what a version says of itself, without proving its files."""

    def pin(self, version: str) -> None:
        """Keep a version from being pruned until `unpin`."""

    def unpin(self, version: str) -> None:
        """Let a version be pruned again."""

    def pinned(self) -> list[ModelVersion]:
        """List the versions that are kept on purpose, oldest first."""

    def note_good(self, version: str) -> None:
        """Keep this version, and no longer the one of which this was said before."""

    def prune(self, keep_newest: int, keep: Collection[ModelVersion] = ()) -> list[ModelVersion]:
        """Delete all but the newest, the good one, the pinned and `keep`; return what was deleted."""

    def clean(self) -> None:
        """Delete what killed writers left; for the one writer alone, while it writes nothing."""


class LocalVersions:
    """The versions of one model in a directory, `EPOCH.SEQ` each; see `VersionStore`.

    Args:
        directory: `MODEL_STORE/NAME`.
    """

    is_remote = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.uri = str(directory)

    def put(self, version: VersionBytes) -> None:
        """See `VersionStore`.

        Raises:
            VersionError: the version exists already.
            OSError: the disk refuses; nothing is visible then.
        """
        target = self.directory / str(ModelVersion.parse(version.version))
        if target.exists():
            raise VersionError("exists", f"version {target.name} is in the store already; versions are never rewritten")
        write_directory(target, {**version.files, MANIFEST_NAME: version.manifest})

    def versions(self) -> list[ModelVersion]:
        """See `VersionStore`."""
        return list_versions(self.directory)

    def read(self, version: str, expected_sha256: str | None = None) -> Version:
        """See `VersionStore`.

        Raises:
            VersionError: anything is missing or not as the manifest says.
        """
        name = str(ModelVersion.parse(version))
        return decode_version(name, self._reader(name), expected_sha256)

    def fetch(self, version: str, expected_sha256: str | None = None) -> VersionBytes:
        """See `VersionStore`; the directory says which version it is, so that no digest is needed to find it.

        Raises:
            VersionError: a part is missing.
        """
        manifest = self.manifest(version)
        read = self._reader(manifest.version)
        files = {name: read(name, manifest.files[name].bytes) for name in FILE_NAMES}
        return VersionBytes(manifest.version, files, read(MANIFEST_NAME, MANIFEST_BYTES_LIMIT))

    def manifest(self, version: str) -> Manifest:
        """See `VersionStore`.

        Raises:
            VersionError: it is missing or cannot be read.
        """
        name = str(ModelVersion.parse(version))
        return decode_manifest(self._reader(name)(MANIFEST_NAME, MANIFEST_BYTES_LIMIT), name, FILE_NAMES)

    def pin(self, version: str) -> None:
        """See `VersionStore`.

        Raises:
            OSError: the disk refuses.
        """
        pin_version(self.directory, version)

    def unpin(self, version: str) -> None:
        """See `VersionStore`.

        Raises:
            OSError: the disk refuses.
        """
        unpin_version(self.directory, version)

    def pinned(self) -> list[ModelVersion]:
        """See `VersionStore`."""
        return pinned_versions(self.directory)

    def note_good(self, version: str) -> None:
        """See `VersionStore`.

        Raises:
            OSError: the disk refuses.
        """
        note_good(self.directory, version)

    def prune(self, keep_newest: int, keep: Collection[ModelVersion] = ()) -> list[ModelVersion]:
        """See `VersionStore`."""
        return prune_versions(self.directory, keep_newest, keep)

    def delete(self, version: str) -> None:
        """Delete one version, seen by nobody half."""
        delete_directory(self.directory / str(ModelVersion.parse(version)))

    def clean(self) -> None:
        """See `VersionStore`."""
        remove_leftovers(self.directory)

    def _reader(self, name: str) -> ReadFile:
        return lambda file_name, limit: _read_file(self.directory / name / file_name, limit)


def open_versions(uri: str, name: str, config: ModelStoreConfig | None = None) -> VersionStore:
    """Open the versions of a model in a store; nothing is asked of it yet.

    Args:
        uri: of the store.
        name: of the model.
        config: how the store is reached.

    Raises:
        ConfigError: the address, a credential's variable or the driver cannot be used.
    """
    config = config or ModelStoreConfig()
    try:
        place = split_uri(uri)
    except ValueError as error:
        raise ConfigError(f"model_store.uri: {error}") from error
    if place.scheme == "file":
        return LocalVersions(Path(place.path) / name)
    filesystem, hide = _connected(place, config)
    root = f"{place.path}/{name}" if place.scheme == "s3" else f"/{place.path}/{name}"
    return ObjectVersions(filesystem, root, f"{masked(uri).rstrip('/')}/{name}", hide)


def _connected(place: StoreUri, config: ModelStoreConfig) -> tuple[Any, Callable[[str], str]]:
    """Return the file system, and what takes its credentials out of a text."""
    if place.scheme == "memory":
        from fsspec.implementations.memory import MemoryFileSystem  # Not in use where a directory is the store.

        return MemoryFileSystem(), str
    credentials = config.credentials()
    try:
        driver = importlib.import_module("s3fs")  # Optional, and a second to import.
    except ImportError as error:
        raise ConfigError(
            f"model_store.uri s3://{place.path} needs the S3 driver, which is not installed; install headrace[s3]"
            " (in a checkout `uv sync --inexact --extra s3`), or name a directory"
        ) from error
    filesystem = driver.S3FileSystem(
        **credentials,
        endpoint_url=config.endpoint_url or None,
        client_kwargs={"region_name": config.region} if config.region else {},
        config_kwargs={
            "connect_timeout": _CONNECT_S,
            "read_timeout": _READ_S,
            "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    filesystem.retries = 1  # Above those attempts; five are its default, two minutes and a half of silence.
    return filesystem, _hider(credentials.values())


def _hider(secrets: Collection[str]) -> Callable[[str], str]:
    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return hide


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise VersionError("missing", f"cannot read {path.parent.name}/{path.name}: {error.strerror}") from error
