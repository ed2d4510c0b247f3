"""Logs of samples and of holds over files: what a trainer that is killed fifty times an hour reads in place of Kafka.

Reads come in random sizes and at random moments, unlike from run to run: where batches are cut is left to chance.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from trainer.gaps import Gap
from trainer.sample_log import SAMPLES_TOPIC, LogRecord

LongTuple = tuple[str, int, int, bytes | None, bytes | None, int]


def write_records(path: Path, records: Iterable[LogRecord]) -> None:
    """Append records to a file."""
    with path.open("ab") as file:
        for record in records:
            file.write(msgspec.json.encode(tuple(record)[:6]) + b"\n")


def read_records(path: Path) -> list[LogRecord]:
    """Return the records of a file, without a line that is being written."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [LogRecord(*msgspec.json.decode(line, type=LongTuple)) for line in lines]


class FileLog:
    """A `Log` over a file.

    Args:
        path: the records, in any order of partitions.
        most: records a poll at most.
        pause_s: longest wait of a poll.
    """

    def __init__(self, path: Path, most: int = 12, pause_s: float = 0.01) -> None:
        self._records = read_records(path)
        self._by_name: dict[str, list[LogRecord]] = {}
        for record in self._records:
            self._by_name.setdefault(record.name, []).append(record)
        self._left: list[LogRecord] = []
        self._most = most
        self._pause_s = pause_s
        self._random = random.Random()
        self.topic_ids: dict[str, str] = {"headrace.samples.v1": "s", "headrace.items.v1": "i"}

    def start(self, offsets: Mapping[str, int], topic_ids: Mapping[str, str]) -> bool:
        """Go on at offsets."""
        self._left = [record for record in self._records if record.offset >= offsets.get(record.name, 0)]
        return True

    def offsets_at(self, time_ms: int) -> dict[str, int] | None:
        """Return the beginnings: no test begins on a history here."""
        return {name: 0 for name in self._by_name if name.startswith(SAMPLES_TOPIC)}

    def read_range(self, name: str, first: int, end: int) -> list[LogRecord] | None:
        """Return records by offset."""
        return self._by_name.get(name, [])[first:end]

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Hand out some records after a while."""
        time.sleep(self._random.uniform(0.0, self._pause_s))
        size = self._random.randint(0, self._most)
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def take_gaps(self) -> list[Gap]:
        """Return none: a file lacks nothing."""
        return []

    def end_offsets(self) -> dict[str, int]:
        """Return where the partitions end."""
        return {name: records[-1].offset + 1 for name, records in self._by_name.items()}

    def close(self) -> None:
        """Do nothing."""


class FileHoldLog:
    """A `HoldSource` over two files.

    Args:
        path: profiles and orders; lines may be added while this reads.
        samples: the samples, for ranges.
    """

    def __init__(self, path: Path, samples: Path) -> None:
        self._path = path
        self._samples = FileLog(samples)
        self._offsets: dict[str, int] = {}
        self._has_read = False

    def start(self, offsets: Mapping[str, int]) -> None:
        """Go on at offsets."""
        self._offsets = dict(offsets)

    def has_caught_up(self) -> bool:
        """Say whether the file was read once."""
        return self._has_read

    def poll(self) -> list[LogRecord]:
        """Return new lines."""
        self._has_read = True
        found = [record for record in read_records(self._path) if record.offset >= self._offsets.get(record.name, 0)]
        self._offsets |= {record.name: record.offset + 1 for record in found}
        return found

    def read_range(self, name: str, offset: int, end: int, limit: int) -> tuple[list[LogRecord], int, int]:
        """Return samples by offset."""
        found = self._samples.read_range(name, offset, min(end, offset + limit)) or []
        return found, min(end, offset + limit), 0

    def close(self) -> None:
        """Do nothing."""
