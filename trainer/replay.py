"""Replay: the batch log again, entry by entry, with the records it names read from the log of samples."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trainer.batch_machine import BatchMachine
from trainer.batch_records import (
    BaseEntry,
    BatchEntry,
    CutEntry,
    Entry,
    GapEntry,
    HoldsEntry,
    PurgeEntry,
    RejectEntry,
    ReleasedEntry,
    Run,
    StartEntry,
    run_of,
)
from trainer.gaps import CHANGED, MISSING, Gap
from trainer.quarantine import Window
from trainer.sample_log import SAMPLES_TOPIC, LogRecord

logger = logging.getLogger(__name__)


class RangeLog(Protocol):
    """What a replay needs of `Log`."""

    topic_ids: dict[str, str]

    def read_range(self, name: str, first: int, end: int) -> list[LogRecord] | None:
        """Return records by offset, None where the log does not answer yet."""


@dataclass
class ReplayReport:
    """What a replay did, for the log and the status file."""

    entries: int = 0
    batches: int = 0
    samples: int = 0
    is_exact: bool = True
    """Whether every record was there and what it was."""


class Replay:
    """Feeds entries to a machine.

    Args:
        machine: stands where the first entry begins.
        log: where records are read again.
        is_stopping: asked before each entry, and while the log does not answer.
    """

    def __init__(self, machine: BatchMachine, log: RangeLog, is_stopping: Callable[[], bool] = lambda: False) -> None:
        self._machine = machine
        self._log = log
        self._is_stopping = is_stopping
        self.report = ReplayReport()

    def apply_all(self, entries: Sequence[Entry], position: int = 0) -> bool:
        """Apply all entries; False where it was stopped before the end.

        Args:
            entries: as they stand in the log.
            position: number of the first.
        """
        skipped = _skipped(entries, position)
        for entry in entries:
            if isinstance(entry, PurgeEntry):  # What is learnt again must lack the window from the first batch on.
                self._machine.quarantine.add(Window(entry.start_ms, entry.end_ms))
        for place, entry in enumerate(entries):
            if self._is_stopping():
                return False
            if place in skipped:
                self._skip(entry)
            else:
                self._apply(entry)
            self.report.entries += 1
        return not self._is_stopping()

    def _skip(self, entry: Entry) -> None:
        """Apply an entry as one whose samples were rejected before they were learnt."""
        match entry:
            case BatchEntry():
                of_items = [run for run in entry.runs if not run.name.startswith(SAMPLES_TOPIC)]
                self._machine.skip_batch(entry, [record for run in of_items for record in self._read(run)])
            case ReleasedEntry():
                self._machine.skip_released(entry)
            case CutEntry():
                self._machine.skip_cut()
            case RejectEntry():  # One before the checkpoint that a later one goes back to.
                pass
            case _:
                self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        match entry:
            case BatchEntry():
                records = [record for run in entry.runs for record in self._read(run)]
                self._machine.learn_batch(entry, records)
                self._count(records)
            case ReleasedEntry():
                records = self._machine.holds.read_again(entry, self._is_stopping)
                self._compare(entry.run, records)
                self._machine.learn_released(entry, records)
                self._count(records)
            case HoldsEntry():
                self._machine.follow_holds(entry)
            case CutEntry():
                self._machine.note_cut(entry)
            case RejectEntry():
                self._machine.follow_reject(entry)
            case PurgeEntry():
                self._machine.follow_purge(entry)
            case GapEntry():
                self._machine.note_gap(entry.gap)
            case BaseEntry():
                self._machine.begin(entry)
            case StartEntry():
                self._machine.note_start(entry)

    def _count(self, records: Sequence[LogRecord]) -> None:
        self.report.batches += 1
        self.report.samples += len(records)

    def _read(self, run: Run) -> list[LogRecord]:
        topic = run.name.rpartition(":")[0]
        known, now = self._machine.topic_ids.get(topic, ""), self._log.topic_ids.get(topic, "")
        records: list[LogRecord] | None = []
        if not (known and now and known != now):
            # Another topic of the same name would give other records at these offsets.
            records = None
            while records is None and not self._is_stopping():
                records = self._log.read_range(run.name, run.first, run.end)
        self._compare(run, records or [])
        return records or []

    def _compare(self, run: Run, records: Sequence[LogRecord]) -> None:
        """Tell where the log no longer holds what was learnt."""
        found = run_of(records, run.name, run.first, run.end)
        if found == run or self._is_stopping():
            return
        self.report.is_exact = False
        lost = max(0, run.count - found.count)
        self._machine.gaps.note(Gap(run.name, run.first, run.end, MISSING if lost else CHANGED, lost))


def _skipped(entries: Sequence[Entry], position: int) -> set[int]:
    """Return the places of entries whose samples a later entry rejects."""
    places: set[int] = set()
    for place, entry in enumerate(entries):
        if isinstance(entry, RejectEntry):
            assert entry.position >= position, "a replay of a rejection begins at the checkpoint it goes back to"
            places.update(range(entry.position - position, place))
    return places
