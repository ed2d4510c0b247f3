"""The number of a version, and the versions that stand in a store."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from features.whole_file import replace_file
from trainer.durable_files import delete_directory
from trainer.errors import VersionError

MANIFEST_NAME = "manifest.json"
PINS_NAME = "pins"
_LAST_GOOD = "last_good"
_VERSION_PATTERN = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,11})")


class ModelVersion(NamedTuple):
    """`EPOCH.SEQ`: the epoch rises with every start of a trainer, the sequence with every version it publishes."""

    epoch: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> ModelVersion:
        """Parse `EPOCH.SEQ`.

        Raises:
            VersionError: `text` is anything else, a path for example.
        """
        match = _VERSION_PATTERN.fullmatch(text)
        if match is None:
            raise VersionError("bad_version_name", f"{text!r:.80} is no version; write EPOCH.SEQ, for example 3.17")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"


def list_versions(store_dir: Path) -> list[ModelVersion]:
    """List the versions in a store, oldest first; temporary and foreign names are passed over."""
    return [version for version in _listed(store_dir) if (store_dir / str(version) / MANIFEST_NAME).is_file()]


def pin_version(store_dir: Path, version: str) -> None:
    """Keep a version from being pruned (a pinned or last-good one) until `unpin_version`."""
    pins = store_dir / PINS_NAME
    pins.mkdir(parents=True, exist_ok=True)
    (pins / str(ModelVersion.parse(version))).touch()


def unpin_version(store_dir: Path, version: str) -> None:
    """Let a version be pruned again."""
    (store_dir / PINS_NAME / str(ModelVersion.parse(version))).unlink(missing_ok=True)


def pinned_versions(store_dir: Path) -> list[ModelVersion]:
    """List the versions that are kept on purpose, oldest first."""
    return _listed(store_dir / PINS_NAME)


def note_good(store_dir: Path, version: str) -> None:
    """Keep a version from being pruned, and no longer the one of which this was said before."""
    replace_file(store_dir / _LAST_GOOD, str(ModelVersion.parse(version)).encode(), is_durable=True)


def prune_versions(store_dir: Path, keep_newest: int, keep: Collection[ModelVersion] = ()) -> list[ModelVersion]:
    """Delete old versions.

    Args:
        store_dir: directory of the model in the store.
        keep_newest: this many newest versions stay.
        keep: further ones that stay, beside the pinned and the last good one.

    Returns:
        What was deleted.
    """
    versions = list_versions(store_dir)
    kept = {*versions[-max(1, keep_newest) :], *keep, *pinned_versions(store_dir), *_last_good(store_dir)}
    deleted = [version for version in versions if version not in kept]
    for version in deleted:
        delete_directory(store_dir / str(version))
    return deleted


def version_names(names: Iterable[str]) -> list[ModelVersion]:
    """Return the versions among names, oldest first."""
    return sorted(ModelVersion.parse(name) for name in names if _VERSION_PATTERN.fullmatch(name))


def _listed(directory: Path) -> list[ModelVersion]:
    try:
        return version_names(os.listdir(directory))
    except FileNotFoundError:
        return []


def _last_good(store_dir: Path) -> list[ModelVersion]:
    try:
        return version_names([(store_dir / _LAST_GOOD).read_text(encoding="ascii", errors="replace")])
    except OSError:
        return []
