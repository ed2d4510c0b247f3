"""The journal of the feature log: what is about to be written online, one file a segment, one write a transaction.

A segment is `<epoch>-<start>.journal`. It holds batches, each with the newest round known to have reached the store,
and is sealed once nothing is added any more. A batch counts if a later batch, or the seal, names its round.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import FeatureLogError
from features.feature_log_columns import PackedRows, unpack_groups
from features.online_writer import RowBatch

SUFFIX = ".journal"
_HEADER = struct.Struct("<IIqqq")
"""Length and CRC-32 of what follows the first eight bytes, then round, known round, version."""
_CHECKED_FROM = 8
_SEAL = 0
"""The round number of a seal; batches count from 1."""


@dataclass(frozen=True)
class JournalBatch:
    """Rows of one transaction as they lie in the journal."""

    round: int
    version_ms: int
    groups: Sequence[tuple[str, PackedRows]]
    """(View, rows of it)."""


class JournalSegment:
    """A segment that is being written.

    Args:
        folder: of the journal.
        epoch: the claim under which its rows are written.
        started_ms: of the first batch; with the epoch it names the file.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, epoch: int, started_ms: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{epoch:010d}-{started_ms:015d}{SUFFIX}"
        self.started_ms = started_ms
        self.num_rows = 0
        self.num_bytes = 0
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)

    def append(self, batch: RowBatch) -> None:
        """Add a batch with one write.

        Raises:
            OSError: it could not be written; the segment is as before.
        """
        self._write(_framed(batch.round, batch.noted_round, batch.version_ms, batch.packed))
        self.num_rows += batch.num_rows

    def close(self) -> None:
        """End the segment; whether its last batch reached the store is said by the seal."""
        os.close(self._descriptor)

    def _write(self, framed: bytes) -> None:
        rest = memoryview(framed)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self.num_bytes)
            raise
        self.num_bytes += len(framed)


def epoch_of(path: Path) -> int:
    """Return the epoch in a segment's name."""
    return int(path.name.partition("-")[0])


def reached_rounds(paths: Iterable[Path], told: Set[int]) -> frozenset[int]:
    """Return the rounds that reached the store, as far as segments of one epoch know, and those that the store tells.

    A store that tells less than the segments know has lost rows, and with them whether it took the last batch. That one
    counts: a row that nobody read does less harm in the log than a missing one that somebody read.

    Raises:
        OSError: a segment cannot be read.
    """
    frames = [frame for path in paths for frame in _frames(path.read_bytes())]
    known = {frame.known_round for frame in frames}
    if max(told, default=-1) < max(known, default=-1):
        known.add(max(frame.round for frame in frames))
    return frozenset(known | told)


def seal(path: Path, reached: Set[int]) -> None:
    """Seal a segment, if it is not: cut a torn batch off, and name the round of it that reached the store last.

    Only tries of one batch can lack an answer, the last ones of a segment, and at most one of them reached the store.

    Raises:
        FeatureLogError: the file is damaged.
        OSError: it cannot be written.
    """
    data = path.read_bytes()
    frames = list(_frames(data))
    if any(frame.round == _SEAL for frame in frames):
        return
    end = frames[-1].end if frames else 0
    if _holds_whole_frame(data, end):
        raise FeatureLogError(f"{path} is damaged at byte {end}")
    last_round = max((frame.round for frame in frames if frame.round in reached), default=0)
    with path.open("r+b") as file:
        file.truncate(end)
        file.seek(0, os.SEEK_END)
        file.write(_framed(_SEAL, last_round, 0, b""))


def read_segment(path: Path) -> list[JournalBatch]:
    """Return the batches of a sealed segment that reached the store.

    Raises:
        FeatureLogError: the file is damaged before its seal.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    frames = list(_frames(data))
    if not any(frame.round == _SEAL for frame in frames):
        raise FeatureLogError(f"{path} is damaged at byte {frames[-1].end if frames else 0}")
    reached = {frame.known_round for frame in frames}
    return [
        JournalBatch(frame.round, frame.version_ms, unpack_groups(frame.packed))
        for frame in frames
        if frame.round != _SEAL and frame.round in reached
    ]


def newest_version(path: Path) -> int:
    """Return the highest version in a segment, whether it reached the store or not; 0 where there is none.

    Raises:
        OSError: it cannot be read.
    """
    return max((frame.version_ms for frame in _frames(path.read_bytes())), default=0)


@dataclass(frozen=True)
class _Frame:
    round: int
    known_round: int
    version_ms: int
    packed: Any
    end: int


def _framed(round_: int, known_round: int, version_ms: int, packed: bytes) -> bytes:
    checked = _HEADER.pack(0, 0, round_, known_round, version_ms)[_CHECKED_FROM:] + packed
    return struct.pack("<II", len(checked), zlib.crc32(checked)) + checked


def _holds_whole_frame(data: bytes, start: int) -> bool:
    """Say whether a frame at `start` is not torn: a killed writer leaves a frame short, never wrong."""
    return (
        len(data) >= start + _HEADER.size and len(data) >= start + _CHECKED_FROM + _HEADER.unpack_from(data, start)[0]
    )


def _frames(data: bytes) -> Iterator[_Frame]:
    """Yield what is whole, up to the first torn or damaged frame."""
    start = 0
    while start + _HEADER.size <= len(data):
        length, checksum, round_, known_round, version_ms = _HEADER.unpack_from(data, start)
        end = start + _CHECKED_FROM + length
        checked = memoryview(data)[start + _CHECKED_FROM : end]
        if length < _HEADER.size - _CHECKED_FROM or end > len(data) or zlib.crc32(checked) != checksum:
            return
        yield _Frame(round_, known_round, version_ms, checked[_HEADER.size - _CHECKED_FROM :], end)
        start = end
