"""Snapshots that the store must keep for arms: marked as pinned ones are, and let go when no arm needs them any more.

Which marks are ours stands in a small file, so that those of an experiment that left `headrace.yaml` go with the next
start. Servers that share a store share its marks: what one of them lets go is let go for all.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from features.whole_file import replace_file
from serving.snapshots import Snapshots

logger = logging.getLogger(__name__)


class KeptSnapshots:
    """Marks in the model store.

    Args:
        snapshots: of the model.
        path: the file that remembers which marks are ours.
        is_ordered: whether a person's pin rests on a snapshot, so that its mark must stay.
    """

    def __init__(self, snapshots: Snapshots, path: Path, is_ordered: Callable[[str], bool]) -> None:
        self._snapshots = snapshots
        self._path = path
        self._is_ordered = is_ordered
        self._kept = self._read()

    def holds(self, snapshot: str) -> bool:
        """Whether an arm needs a snapshot."""
        return snapshot in self._kept

    def keep(self, snapshot: str) -> None:
        """Let the store keep a snapshot."""
        with contextlib.suppress(OSError):  # A store that we may only read cannot be told to keep files.
            self._snapshots.pin(snapshot)
            self._write(self._kept | {snapshot})

    def keep_only(self, snapshots: Collection[str]) -> None:
        """Let go of all others."""
        for snapshot in self._kept - set(snapshots):
            self.let_go(snapshot)

    def let_go(self, snapshot: str) -> None:
        """Let the store prune a snapshot, unless a person's pin rests on it."""
        if snapshot not in self._kept:
            return
        with contextlib.suppress(OSError):
            if not self._is_ordered(snapshot):
                self._snapshots.unpin(snapshot)
            self._write(self._kept - {snapshot})

    def _read(self) -> set[str]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=set[str])
        except FileNotFoundError:
            return set()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("cannot read %s (%s); snapshots of earlier arms stay in the store", self._path, error)
            return set()

    def _write(self, kept: set[str]) -> None:
        self._kept = kept
        replace_file(self._path, msgspec.json.encode(kept))
