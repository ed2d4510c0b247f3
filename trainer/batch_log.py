"""The batch log: what was learnt, in which cuts, written down before it is learnt.

A line an entry: `CRC LENGTH NUMBER ENTRY`, the CRC over all behind it. Lines are appended at once and fsynced before
anything that the world can see rests on them: a checkpoint, a version. Segments are files named by their first entry; a
start and a checkpoint each begin a new one, and what no kept checkpoint needs any more is deleted.

    0000000000000017.0.log      entries from 17 on, first writing
    0000000000000017.1.log      the same numbers written again: after a start, or after an fsync that failed
    *.damaged                   what could not be followed, kept to be looked at
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from features.whole_file import fsync_directory
from trainer.batch_records import Entry, decode_entry, encode_entry

_SEGMENT_PATTERN = re.compile(r"(\d{16})\.(\d+)\.log")
_SEGMENT_BYTES = 16 << 20

logger = logging.getLogger(__name__)


@dataclass
class LogContent:
    """What a log holds from some entry on."""

    entries: list[Entry] = field(default_factory=list)
    torn_bytes: int = 0
    """Of a last line that was never finished: nothing rested on it."""
    damage: str = ""
    """Why the log cannot be followed to its end; empty where it can."""


class _Line(NamedTuple):
    path: Path
    end: int
    """Byte behind it."""
    size: int
    number: int
    """-1 where the line is bad."""
    entry: Entry | None
    is_torn: bool


def read_log(directory: Path, position: int) -> LogContent:
    """Read and verify all entries from `position` on, up to the end or to the first damage."""
    return _read(directory, position)[0]


class BatchLog:
    """The log of one trainer, open for appending; this process must be the directory's only writer.

    Args:
        directory: where segments lie.
        position: number of the first entry wanted, as a checkpoint says; 0 for all.

    Raises:
        OSError: the directory cannot be read or repaired.
    """

    def __init__(self, directory: Path, position: int = 0) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        content, lines, num_good = _read(directory, position)
        self.entries = content.entries
        """What stood in the log behind `position`, to be learnt again."""
        self.damage = content.damage
        self.torn_bytes = content.torn_bytes
        _repair(directory, content, lines, num_good)
        self.position = position + len(content.entries)
        """Number of the next entry."""
        self.write_error = ""
        """Why the newest lines are not on disk, empty where they are."""
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        """One sync at a time; appends go on meanwhile."""
        self._unsynced = bytearray()
        self._unsynced_first = self.position
        self._written = 0
        """How much of `_unsynced` is in the open segment."""
        self._segment = -1
        self._segment_size = 0
        self._retired: list[int] = []
        """Descriptors of full segments that are not fsynced yet."""

    def append(self, entry: Entry) -> None:
        """Write down an entry; a disk that refuses is told by `write_error` and tried again, learning goes on."""
        raw = encode_entry(entry)
        with self._lock:
            self._unsynced += _line(self.position, raw)
            self.position += 1
            self._try_write()
            if self._segment_size >= _SEGMENT_BYTES:
                self._retire_segment()

    def sync(self) -> None:
        """Return once every entry so far survives a power cut; any thread may call this.

        Raises:
            OSError: the disk refuses; what rests on these entries must not become visible.
        """
        with self._sync_lock:
            with self._lock:
                self._write()
                size, position = len(self._unsynced), self.position
                descriptors = [*self._retired, *([os.dup(self._segment)] if self._segment >= 0 else [])]
                self._retired = []
            self._fsync(descriptors)
            with self._lock:
                del self._unsynced[:size]
                self._written -= size
                self._unsynced_first = position
                self.write_error = ""

    def begin_segment(self) -> None:
        """Have the next entry begin a new file, so that those before it can be deleted in time."""
        with self._lock:
            self._try_write()
            self._retire_segment()

    def drop_before(self, position: int, keep_s: float = 0.0) -> None:
        """Delete segments that hold only entries before `position` and are older than `keep_s`."""
        segments = _segments(self._directory)
        for path, follower in itertools.pairwise(segments):
            if _first_of(follower) > position:
                break
            if time.time() - path.stat().st_mtime >= keep_s:
                path.unlink(missing_ok=True)

    def status(self) -> dict[str, object]:
        """Return what the status file tells."""
        return {
            "position": self.position,
            "unsynced_bytes": len(self._unsynced),
            "write_error": self.write_error,
            "damage": self.damage,
            "torn_bytes": self.torn_bytes,
        }

    def close(self) -> None:
        """Close the files; entries that were not synced may be lost."""
        with self._lock:
            self._try_write()
            for descriptor in (*self._retired, self._segment):
                if descriptor >= 0:
                    os.close(descriptor)
            self._retired, self._segment = [], -1

    def _fsync(self, descriptors: Sequence[int]) -> None:
        try:
            for descriptor in descriptors:
                os.fsync(descriptor)
            fsync_directory(self._directory)
        except OSError as error:
            self._write_again(str(error))
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _try_write(self) -> None:
        try:
            self._write()
        except OSError as error:
            if not self.write_error:
                logger.error("the batch log cannot be written (%s): nothing is published until it can", error)
            self.write_error = str(error)

    def _write(self) -> None:
        """Write what is left to write; a write may end early, in the middle of a line, and goes on there."""
        while self._written < len(self._unsynced):
            if self._segment < 0:
                self._segment = _new_segment(self._directory, self._unsynced_first)
                self._segment_size = 0
            size = os.write(self._segment, self._unsynced[self._written :])
            self._written += size
            self._segment_size += size

    def _retire_segment(self) -> None:
        if self._segment >= 0 and self._written == len(self._unsynced):
            self._retired.append(self._segment)
            self._segment = -1
            self._segment_size = 0

    def _write_again(self, error: str) -> None:
        """Give up the open file: after an fsync that failed nobody knows what of it is on disk."""
        logger.error("the batch log cannot be fsynced (%s): nothing is published until it can", error)
        with self._lock:
            self.write_error = error
            if self._segment >= 0:
                os.close(self._segment)
            self._segment = -1
            self._written = 0


def _read(directory: Path, position: int) -> tuple[LogContent, list[_Line], int]:
    """Return the content, all lines, and how many of these lines are good.

    A bad line before a good one that is next in number was written again, or lies before `position`: it costs nothing.
    """
    content = LogContent()
    lines = [line for path in _needed_segments(directory, position) for line in _lines(path)]
    num_good = 0
    for index, line in enumerate(lines):
        next_number = position + len(content.entries)
        if line.entry is None or line.number > next_number:
            continue
        num_good = index + 1
        if line.number == next_number:
            content.entries.append(line.entry)
    bad = lines[num_good:]
    content.torn_bytes = sum(line.size for line in bad if line.is_torn)
    damaged = [line for line in bad if not line.is_torn]
    if damaged:
        line = damaged[0]
        content.damage = (
            f"{line.path.name}, bytes {line.end - line.size}..{line.end}: "
            f"entry {position + len(content.entries)} is missing or is not what was written; "
            f"{sum(line.entry is not None for line in bad)} good entries behind it cannot be followed"
        )
    return content, lines, num_good


def _repair(directory: Path, content: LogContent, lines: list[_Line], num_good: int) -> None:
    """Cut off what cannot be followed; damage is kept aside, a torn line is not worth it."""
    bad = lines[num_good:]
    if not bad:
        return
    if content.damage:
        logger.error("batch log damaged: %s; going on from there, other than before", content.damage)
    else:
        logger.warning("batch log: %d bytes of a torn last line are cut", content.torn_bytes)
    last = lines[num_good - 1] if num_good else None
    for path in dict.fromkeys(line.path for line in bad):
        if content.damage:
            _keep_aside(path)
        if last is not None and path == last.path:
            os.truncate(path, last.end)
        else:
            path.unlink()
    fsync_directory(directory)


def _keep_aside(path: Path) -> None:
    try:
        shutil.copyfile(path, path.with_name(f"{path.name}.damaged"))
    except OSError as error:  # A full disk must not keep the trainer from starting.
        logger.warning("%s is not kept: %s", path.name, error)


def _segments(directory: Path) -> list[Path]:
    """List the segments in the order in which they are read."""
    found = [path for path in directory.iterdir() if _SEGMENT_PATTERN.fullmatch(path.name)]
    return sorted(found, key=lambda path: tuple(map(int, path.name.split(".")[:2])))


def _first_of(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _needed_segments(directory: Path, position: int) -> list[Path]:
    """Return the newest segment that begins at or before `position`, all that begin there too, and what follows."""
    segments = _segments(directory) if directory.is_dir() else []
    first = max((_first_of(path) for path in segments if _first_of(path) <= position), default=-1)
    return [path for path in segments if _first_of(path) >= first]


def _new_segment(directory: Path, first: int) -> int:
    """Create the next file for entries from `first` on; return its descriptor."""
    number = sum(_first_of(path) == first for path in _segments(directory))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    return os.open(directory / f"{first:016d}.{number}.log", flags, 0o644)


def _lines(path: Path) -> Iterator[_Line]:
    end = 0
    for raw in path.read_bytes().splitlines(keepends=True):
        end += len(raw)
        number, entry = _parse(raw)
        yield _Line(path, end, len(raw), number, entry, entry is None and _is_torn(raw))


def _line(number: int, raw: bytes) -> bytes:
    body = b"%08x %d %s\n" % (len(raw), number, raw)
    return b"%08x %s" % (zlib.crc32(body), body)


def _parse(line: bytes) -> tuple[int, Entry | None]:
    """Return number and entry of a line, (-1, None) of a bad one."""
    try:
        crc, size, number, raw = line.split(b" ", 3)
        if crc != crc.lower() or int(crc, 16) != zlib.crc32(line[len(crc) + 1 :]) or int(size, 16) != len(raw) - 1:
            return -1, None
        return int(number), decode_entry(raw)
    except (ValueError, msgspec.MsgspecError):
        return -1, None


def _is_torn(line: bytes) -> bool:
    """Say whether a line is the beginning of one that was never finished."""
    parts = line.split(b" ", 3)
    if line.endswith(b"\n"):
        return False
    try:
        return len(parts) < 4 or len(parts[3]) < int(parts[1], 16) + 1
    except ValueError:
        return False
