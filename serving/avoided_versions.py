"""Versions that somebody rolled back from: none of them is picked up again by itself, over restarts too.

Workers of one server share the file. Each may have left another version, so what one adds is kept beside what the
others did: the file is read again under a lock before it is written.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from features.whole_file import replace_file
from trainer.version_files import ModelVersion

logger = logging.getLogger(__name__)

_KEPT = 32


class AvoidedRange(msgspec.Struct, frozen=True):
    """Versions above `above` up to `up_to`, itself among them."""

    above: str
    up_to: str

    def holds(self, version: ModelVersion) -> bool:
        """Whether a version is one of them."""
        return ModelVersion.parse(self.above) < version <= ModelVersion.parse(self.up_to)


class AvoidedVersions:
    """Ranges of versions, in a small JSON file.

    Args:
        path: the file; absent while there are none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ranges = self._read()

    def holds(self, version: ModelVersion) -> bool:
        """Whether a version must not be served without an order."""
        return any(one.holds(version) for one in self._ranges)

    def add(self, above: ModelVersion, up_to: ModelVersion) -> None:
        """Avoid what lies between the version that was gone back to and the one that was left."""
        added = AvoidedRange(str(above), str(up_to))
        self._change(lambda ranges: [*ranges, added] if added not in ranges else ranges)

    def allow(self, version: ModelVersion) -> None:
        """Forget the ranges that hold a version which somebody ordered."""
        self._change(lambda ranges: [one for one in ranges if not one.holds(version)])

    def _read(self) -> list[AvoidedRange]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[AvoidedRange])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning(
                "cannot read %s (%s); versions that were rolled back from may serve again", self._path, error
            )
            return []

    def _change(self, change: Callable[[list[AvoidedRange]], list[AvoidedRange]]) -> None:
        """Change the ranges here, and the file with all that others wrote meanwhile."""
        self._ranges = change(self._ranges)[-_KEPT:]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("a", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                stored = self._read()
                changed = change(stored)[-_KEPT:]
                if changed != stored:
                    replace_file(self._path, msgspec.json.encode(changed))
        except OSError as error:
            logger.warning("cannot write %s (%s); a restart will not know it", self._path, error)
