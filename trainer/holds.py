"""What must not teach for now: samples of windows that the quality job or ops hold.

A held sample counts in every table at once, as features are not held, and teaches no weights. It is not kept in memory:
only where it lies, as one range of offsets a window and partition, which the checkpoint remembers. When the window is
let go its ranges are read again and learnt; when it is dropped they are forgotten. What is read of profiles and orders
goes through the batch log before it takes effect (`news`, then `apply`), so a replay holds and releases at the same
batches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

from features.json_records import JsonDecoder
from features.quality.hold_table import CONTROL_TOPIC, Hold, HoldTable, Verdict, decode_order
from features.quality.profile import DROPPED, HELD, QUALITY_TOPIC
from trainer.batch_records import HoldRecord, HoldsEntry, ReleasedEntry, Run, run_of
from trainer.data_orders import decode_data_order
from trainer.gate_orders import decode_gate_order
from trainer.sample_log import LogRecord

_FOLLOW_EVERY_S = 0.2
_REMEMBERED_MS = 8 * 86_400_000
"""Longer than samples are kept on their topic."""

logger = logging.getLogger(__name__)


class DeferredSlice(NamedTuple):
    """Some records of a window that was let go."""

    entry: ReleasedEntry
    records: list[LogRecord]


_verdict_decoder = JsonDecoder(Verdict)


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
    skipped: dict[str, list[tuple[int, int]]] = {}


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
        self._skipped: dict[str, list[tuple[int, int]]] = {}
        """`topic:partition` -> (first, end) of what is never learnt, as the gate's `reject` said."""
        self.lost = 0
        """Deferred records that retention deleted before they could be learnt."""

    def catch_up(self, is_stopping: Callable[[], bool]) -> Iterator[HoldsEntry]:
        """Read what is known of all windows before the first sample is learnt; each entry is to be applied."""
        if self._source is None:
            return
        self._source.start(self._offsets)
        while not self._source.has_caught_up() and not is_stopping():
            entry = self._entry_of(self._source.poll())
            if entry is not None:
                yield entry

    def news(self) -> HoldsEntry | None:
        """Look for new profiles and orders, a few times a second; None where nothing is to be applied."""
        now_s = self._clock_s()
        if self._source is None or now_s - self._followed_s < _FOLLOW_EVERY_S:
            return None
        self._followed_s = now_s
        return self._entry_of(self._source.poll())

    def apply(self, entry: HoldsEntry) -> None:
        """Let profiles and orders take effect."""
        for record in entry.records:
            changed = self._table.apply(record.topic, record.value.encode())
            if changed is not None:
                logger.info("window %d is %s for the trainer", changed.start_ms, changed.state)
                if changed.state == DROPPED:
                    self._ranges.pop(changed.start_ms, None)
                self._forget_old(changed.end_ms)
        self._offsets |= entry.offsets

    def oldest_deferred_ms(self) -> int | None:
        """Return the start of the oldest window whose samples wait; None where none does."""
        return min(self._ranges, default=None)

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

    def skip(self, run: Run) -> None:
        """Never learn these records, also where a window around them is let go."""
        self._skipped.setdefault(run.name, []).append((run.first, run.end))

    def is_skipped(self, record: LogRecord) -> bool:
        """Say whether a record of a range that was read again must not be learnt."""
        ranges = self._skipped.get(record.name, ())
        return any(first <= record.offset < end for first, end in ranges)

    def next_released(self, limit: int) -> DeferredSlice | None:
        """Return the next records of windows that were let go; None where there are none or the log does not answer."""
        for start_ms, ranges in self._ranges.items():
            hold = self._table.holds.get(start_ms)
            if self._source is None or (hold is not None and hold.state == HELD):
                continue
            for name, (offset, end) in ranges.items():
                records, next_offset, lost = self._source.read_range(name, offset, end, limit)
                if next_offset <= offset:
                    return None
                is_within = [record for record in records if record.offset < end]
                run = run_of(is_within, name, offset, next_offset)
                return DeferredSlice(ReleasedEntry(start_ms, run, lost), is_within)
        return None

    def read_again(self, entry: ReleasedEntry, is_stopping: Callable[[], bool]) -> list[LogRecord]:
        """Return the records of a slice that was learnt before; those that are gone are left out."""
        records: list[LogRecord] = []
        offset, run = entry.run.first, entry.run
        while self._source is not None and offset < run.end and not is_stopping():
            found, offset, _ = self._source.read_range(run.name, offset, run.end, run.count)
            records += found
        return records

    def is_in_window(self, window_start_ms: int, broker_time_ms: int) -> bool:
        """Say whether a sample of a range that was read again belongs to its window."""
        hold = self._table.holds.get(window_start_ms)
        return hold is not None and hold.start_ms <= broker_time_ms < hold.end_ms

    def forget_slice(self, entry: ReleasedEntry) -> None:
        """Go on behind a slice that is learnt."""
        self._note_lost(entry.window_start_ms, entry.lost)
        ranges = self._ranges.get(entry.window_start_ms, {})
        end = ranges.get(entry.run.name, (0, 0))[1]
        if entry.run.end >= end:
            ranges.pop(entry.run.name, None)
        else:
            ranges[entry.run.name] = (entry.run.end, end)
        if not ranges:
            self._ranges.pop(entry.window_start_ms, None)

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
        skipped = {name: list(ranges) for name, ranges in self._skipped.items()}
        content: dict[str, Any] = msgspec.to_builtins(_Saved(holds, dict(self._offsets), skipped))
        return content

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what `saved` returned."""
        saved = msgspec.convert(content, _Saved)
        self._table = HoldTable(self._name)
        for hold in saved.holds:
            self._table.put(Hold(hold.start_ms, hold.end_ms, hold.verdict, hold.decision))
        self._ranges = {hold.start_ms: dict(hold.ranges) for hold in saved.holds if hold.ranges}
        self._offsets = dict(saved.offsets)
        self._skipped = {name: list(ranges) for name, ranges in saved.skipped.items()}

    def _entry_of(self, records: list[LogRecord]) -> HoldsEntry | None:
        """Return what of these records may change a window, in as few bytes as decide."""
        offsets = {record.name: record.offset + 1 for record in records}
        known = set(self._table.holds)
        kept = []
        for record in records:
            value = self._deciding_part(record, known)
            if value is not None:
                kept.append(HoldRecord(record.topic, record.partition, record.offset, value))
        if not kept:
            self._offsets |= offsets
            return None
        return HoldsEntry(kept, offsets)

    def _deciding_part(self, record: LogRecord, known: set[int]) -> str | None:
        if record.topic == CONTROL_TOPIC:
            if decode_gate_order(record.value, self._name) or decode_data_order(record.value, self._name):
                return (record.value or b"").decode()
            order = decode_order(record.value)
            if order is None or order.name != self._name:
                return None
            known.add(order.window_start_ms)
            return (record.value or b"").decode()
        assert record.topic == QUALITY_TOPIC
        try:
            verdict = _verdict_decoder.decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if verdict.window_start_ms not in known and verdict.state not in (HELD, DROPPED):
            return None
        known.add(verdict.window_start_ms)
        return msgspec.json.encode(verdict).decode()

    def _forget_old(self, now_ms: int) -> None:
        """Forget windows whose samples their topic no longer holds."""
        self._table.forget_before(now_ms - _REMEMBERED_MS)
        for start_ms in self._ranges.keys() - self._table.holds.keys():
            self._note_lost(start_ms, sum(end - first for first, end in self._ranges.pop(start_ms).values()))

    def _note_lost(self, window_start_ms: int, lost: int) -> None:
        if lost:
            self.lost += lost
            logger.error("window %d: %d deferred records are gone and never learnt", window_start_ms, lost)
