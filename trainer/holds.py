"""What must not teach for now: samples of windows that the quality job or ops hold.

A held sample counts in every table at once, as features are not held, and teaches no weights. It is not kept in memory:
only where it lies, as one range of offsets a window and partition, which the checkpoint remembers. When the window is
let go its ranges are read again and learnt; when it is dropped they are forgotten. Keys in the learner make a sample
that is read twice harmless.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec

from features.quality.hold_table import Hold, HoldTable
from features.quality.profile import DROPPED, HELD
from trainer.sample_log import LogRecord

_FOLLOW_EVERY_S = 0.2
_REMEMBERED_MS = 8 * 86_400_000
"""Longer than samples are kept on their topic."""

logger = logging.getLogger(__name__)


class DeferredSlice(NamedTuple):
    """Some records of a window that was let go."""

    window_start_ms: int
    name: str
    """`topic:partition`."""
    records: list[LogRecord]
    next_offset: int


class HoldSource(Protocol):
    """What holds need of `HoldLog`."""

    def start(self, offsets: dict[str, int]) -> None:
        """Go to the positions."""

    def poll(self) -> list[LogRecord]:
        """Return profiles and orders that have come."""

    def has_caught_up(self) -> bool:
        """Say whether all that there was at the start is read."""

    def read_range(self, name: str, offset: int, end: int, limit: int) -> tuple[list[LogRecord], int, int]:
        """Return records within [offset, end), the next offset to ask for, and how many were deleted before."""


class _SavedHold(msgspec.Struct):
    start_ms: int
    end_ms: int
    verdict: str
    decision: str
    ranges: dict[str, tuple[int, int]]


class _Saved(msgspec.Struct):
    holds: list[_SavedHold] = []
    offsets: dict[str, int] = {}


class Holds:
    """Held windows, and where their samples lie.

    Args:
        name: model name; orders of others are passed over.
        source: where profiles and orders come from; None where quality is switched off.
        clock_s: monotonic seconds.
    """

    def __init__(
        self, name: str, source: HoldSource | None = None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._source = source
        self._clock_s = clock_s
        self._followed_s = float("-inf")
        self._table = HoldTable(name)
        self._offsets: dict[str, int] = {}
        self._ranges: dict[int, dict[str, tuple[int, int]]] = {}
        """Window start -> `topic:partition` -> (first, end) of its deferred samples."""
        self.lost = 0
        """Deferred records that retention deleted before they could be learnt."""

    def catch_up(self, is_stopping: Callable[[], bool]) -> None:
        """Read what is known of all windows before the first sample is learnt."""
        if self._source is None:
            return
        self._source.start(self._offsets)
        while not self._source.has_caught_up() and not is_stopping():
            self._apply(self._source.poll())

    def follow(self) -> None:
        """Take in new profiles and orders, a few times a second."""
        now_s = self._clock_s()
        if self._source is not None and now_s - self._followed_s >= _FOLLOW_EVERY_S:
            self._followed_s = now_s
            self._apply(self._source.poll())

    def defer(self, broker_time_ms: int, record: LogRecord) -> bool:
        """Say whether a sample must not teach now; where it may later, remember where it lies."""
        hold = self._table.find(broker_time_ms) if self._table.holds and broker_time_ms else None
        if hold is None:
            return False
        if hold.state == HELD:
            ranges = self._ranges.setdefault(hold.start_ms, {})
            name = f"{record.topic}:{record.partition}"
            first, end = ranges.get(name, (record.offset, record.offset))
            ranges[name] = (min(first, record.offset), max(end, record.offset + 1))
        return True

    def next_released(self, limit: int) -> DeferredSlice | None:
        """Return the next records of windows that were let go; None where there are none or the log does not answer."""
        for start_ms, ranges in self._ranges.items():
            hold = self._table.holds.get(start_ms)
            if self._source is None or (hold is not None and hold.state == HELD):
                continue
            for name, (offset, end) in ranges.items():
                records, next_offset, lost = self._source.read_range(name, offset, end, limit)
                self._note_lost(start_ms, lost)
                is_within = [record for record in records if record.offset < end]
                return DeferredSlice(start_ms, name, is_within, next_offset) if next_offset > offset else None
        return None

    def is_in_window(self, window_start_ms: int, broker_time_ms: int) -> bool:
        """Say whether a sample of a range that was read again belongs to its window."""
        hold = self._table.holds.get(window_start_ms)
        return hold is not None and hold.start_ms <= broker_time_ms < hold.end_ms

    def forget_slice(self, read: DeferredSlice) -> None:
        """Go on behind a slice that is learnt."""
        ranges = self._ranges[read.window_start_ms]
        end = ranges[read.name][1]
        if read.next_offset >= end:
            del ranges[read.name]
        else:
            ranges[read.name] = (read.next_offset, end)
        if not ranges:
            del self._ranges[read.window_start_ms]

    def status(self) -> dict[str, Any]:
        """Return what the status file tells."""
        states = [hold.state for hold in self._table.holds.values()]
        return {
            "is_followed": self._source is not None,
            "held_windows": states.count(HELD),
            "dropped_windows": states.count(DROPPED),
            "deferred_windows": len(self._ranges),
            "lost_records": self.lost,
        }

    def saved(self) -> dict[str, Any]:
        """Return everything, for the checkpoint."""
        holds = [
            _SavedHold(hold.start_ms, hold.end_ms, hold.verdict, hold.decision, dict(self._ranges.get(start_ms, {})))
            for start_ms, hold in self._table.holds.items()
        ]
        content: dict[str, Any] = msgspec.to_builtins(_Saved(holds, dict(self._offsets)))
        return content

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what `saved` returned."""
        saved = msgspec.convert(content, _Saved)
        self._table = HoldTable(self._name)
        for hold in saved.holds:
            self._table.put(Hold(hold.start_ms, hold.end_ms, hold.verdict, hold.decision))
        self._ranges = {hold.start_ms: dict(hold.ranges) for hold in saved.holds if hold.ranges}
        self._offsets = dict(saved.offsets)

    def _apply(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            changed = self._table.apply(record.topic, record.value)
            self._offsets[f"{record.topic}:{record.partition}"] = record.offset + 1
            if changed is not None:
                logger.info("window %d is %s for the trainer", changed.start_ms, changed.state)
                if changed.state == DROPPED:
                    self._ranges.pop(changed.start_ms, None)
                self._forget_old(changed.end_ms)

    def _forget_old(self, now_ms: int) -> None:
        """Forget windows whose samples their topic no longer holds."""
        self._table.forget_before(now_ms - _REMEMBERED_MS)
        for start_ms in self._ranges.keys() - self._table.holds.keys():
            self._note_lost(start_ms, sum(end - first for first, end in self._ranges.pop(start_ms).values()))

    def _note_lost(self, window_start_ms: int, lost: int) -> None:
        if lost:
            self.lost += lost
            logger.error("window %d: %d deferred records are gone and never learnt", window_start_ms, lost)
