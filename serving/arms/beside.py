"""Versions that serve arms beside the live one: built without going live, kept in the store while arms need them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path

from serving.arms.fixed_version import FixedVersion
from serving.arms.kept_snapshots import KeptSnapshots
from serving.live_versions import LiveVersions
from serving.snapshots import Snapshots
from trainer.version_files import VersionError


class VersionsBeside:
    """Builds versions for arms.

    Args:
        versions: builds them, one at a time with all others.
        snapshots: of the model.
        path: remembers which marks in the store are those of arms.
        is_ordered: whether a person's pin rests on a snapshot.
    """

    def __init__(
        self, versions: LiveVersions, snapshots: Snapshots, path: Path, is_ordered: Callable[[str], bool]
    ) -> None:
        self._versions = versions
        self._kept = KeptSnapshots(snapshots, path, is_ordered)

    async def build(self, version: str) -> FixedVersion:
        """Build a version; the store keeps the snapshot that it rests on.

        Raises:
            VersionUnknownError: it is not kept.
            VersionRefusedError: it failed a check.
        """
        fixed = await self._versions.build_beside(version)
        self._kept.keep(self._versions.base_of(version))
        return fixed

    def needs(self, snapshot: str) -> bool:
        """Whether an arm rests on a snapshot."""
        return self._kept.holds(snapshot)

    def let_go(self, version: str) -> None:
        """Let the store prune what an arm no longer needs."""
        with contextlib.suppress(VersionError):
            self._kept.let_go(self._versions.base_of(version))

    def keep_only(self, versions: Collection[str]) -> None:
        """Let the store prune what arms of former days needed."""
        self._kept.keep_only([base for version in versions if (base := self._versions.base_of(version))])
