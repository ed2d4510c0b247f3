"""The snapshots of a model as a server uses them: listed without waiting, read when they are to be built."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from trainer.version_files import LocalVersions, Manifest, ModelVersion, Version


class Snapshots(Protocol):
    """What a server needs of the model store. All but `look` and `read` answers at once, on the event loop too."""

    async def start(self) -> None:
        """Look at the store for the first time; a store that is slow or away is not waited for."""

    async def stop(self) -> None:
        """Look no more."""

    def tell(self) -> None:
        """Say that there is something new in the store."""

    def versions(self) -> list[ModelVersion]:
        """List the snapshots that are known, oldest first."""

    def look(self) -> None:
        """Bring that list up to date, in the worker.

        Raises:
            StoreError: the store does not answer.
        """

    def read(self, version: str, manifest_sha256: str | None = None) -> Version:
        """Read a snapshot and prove it, in the worker.

        Raises:
            StoreError: the store does not answer, and there is no copy here.
            VersionError: it is missing, or not as it must be.
        """

    def manifest(self, version: str) -> Manifest:
        """Return what a snapshot says of itself.

        Raises:
            VersionError: that is not known.
        """

    def pin(self, version: str) -> None:
        """Have the store keep a snapshot, for an order or an arm."""

    def unpin(self, version: str) -> None:
        """Have the store prune it again."""

    def note_served(self, version: str) -> None:
        """Say that what serves rests on this snapshot."""


class LocalSnapshots:
    """The snapshots in a directory; see `Snapshots`.

    Args:
        directory: of the model in the store.
    """

    def __init__(self, directory: Path) -> None:
        self._store = LocalVersions(directory)

    async def start(self) -> None:
        """See `Snapshots`."""

    async def stop(self) -> None:
        """See `Snapshots`."""

    def tell(self) -> None:
        """See `Snapshots`."""

    def versions(self) -> list[ModelVersion]:
        """See `Snapshots`."""
        return self._store.versions()

    def look(self) -> None:
        """See `Snapshots`."""

    def read(self, version: str, manifest_sha256: str | None = None) -> Version:
        """See `Snapshots`."""
        return self._store.read(version, manifest_sha256)

    def manifest(self, version: str) -> Manifest:
        """See `Snapshots`."""
        return self._store.manifest(version)

    def pin(self, version: str) -> None:
        """See `Snapshots`.

        Raises:
            OSError: a store that we may only read cannot be told to keep files.
        """
        self._store.pin(version)

    def unpin(self, version: str) -> None:
        """See `Snapshots`.

        Raises:
            OSError: as `pin`.
        """
        self._store.unpin(version)

    def note_served(self, version: str) -> None:
        """See `Snapshots`."""
