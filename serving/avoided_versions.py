"""Versions that somebody rolled back from: none of them is picked up again by itself, over restarts too."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

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
        self._write([*self._ranges[-_KEPT + 1 :], AvoidedRange(str(above), str(up_to))])

    def allow(self, version: ModelVersion) -> None:
        """Forget the ranges that hold a version which somebody ordered."""
        left = [one for one in self._ranges if not one.holds(version)]
        if left != self._ranges:
            self._write(left)

    def _read(self) -> list[AvoidedRange]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[AvoidedRange])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            logger.warning(
                "cannot read %s (%s); versions that were rolled back from may serve again", self._path, error
            )
            return []

    def _write(self, ranges: list[AvoidedRange]) -> None:
        self._ranges = ranges
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".tmp")
            temporary.write_bytes(msgspec.json.encode(ranges))
            os.replace(temporary, self._path)
        except OSError as error:
            logger.warning("cannot write %s (%s); a restart will not know it", self._path, error)
