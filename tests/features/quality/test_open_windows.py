"""Windows are offset ranges: contiguous, complete before they close, whole after a restart."""

from __future__ import annotations

import json

from features.config import AppConfig
from features.quality.open_windows import DEAD_LETTERS_TOPIC, EVENTS_TOPIC, OpenWindows
from tests.fakes import FakeRecord

MINUTE = 60_000
FIRST, SECOND = f"{EVENTS_TOPIC}:0", f"{EVENTS_TOPIC}:1"


def event(offset: int, time_ms: int, partition: int = 0) -> FakeRecord:
    """One usable record."""
    fields = {"event_id": f"e{offset}", "user_id": "u", "item_id": "i", "action": "view", "event_time_ms": time_ms}
    return FakeRecord(EVENTS_TOPIC, partition, offset, b"", json.dumps(fields).encode(), time_ms)


def letter(offset: int, time_ms: int, about_ms: int) -> FakeRecord:
    """One dead letter."""
    raw = json.dumps({"reason": "not_json", "record_time_ms": about_ms, "raw": ""}).encode()
    return FakeRecord(DEAD_LETTERS_TOPIC, 0, offset, b"", raw, time_ms)


def fill(windows: OpenWindows, *records: FakeRecord) -> OpenWindows:
    """Append records."""
    for record in records:
        windows.append(record.topic, record.partition, record)
    return windows


def test_ranges_of_windows_are_contiguous(app: AppConfig) -> None:
    """Where one window ends in a partition, the next begins."""
    windows = fill(OpenWindows(app, MINUTE, {FIRST: 5}), event(5, MINUTE), event(6, MINUTE + 1), event(7, 2 * MINUTE))
    first = windows.window(MINUTE).offsets[FIRST]
    windows.close(MINUTE)
    second = windows.window(2 * MINUTE).offsets[FIRST]
    assert (first.from_offset, first.to_offset, second.from_offset, second.to_offset) == (5, 7, 7, 8)


def test_window_waits_for_every_partition(app: AppConfig) -> None:
    """One partition ahead closes nothing; an idle one is waited for until it is drained and the grace is over."""
    windows = fill(OpenWindows(app, MINUTE, {FIRST: 0, SECOND: 0}), event(0, MINUTE), event(1, 2 * MINUTE))
    assert not windows.is_complete(MINUTE, set(), 9 * MINUTE, 2000)
    assert not windows.is_complete(MINUTE, {SECOND}, 2 * MINUTE + 1999, 2000)
    assert windows.is_complete(MINUTE, {SECOND}, 2 * MINUTE + 2000, 2000)
    fill(windows, event(0, 2 * MINUTE, partition=1))
    assert windows.is_complete(MINUTE, set(), 0, 2000)


def test_clock_set_back_keeps_ranges_whole(app: AppConfig) -> None:
    """A record whose time fell belongs to the window its partition had reached, or to the next after a close."""
    windows = fill(OpenWindows(app, MINUTE, {FIRST: 0}), event(0, 2 * MINUTE), event(1, MINUTE))
    assert windows.window(2 * MINUTE).columns.records == 2
    windows.close(2 * MINUTE)
    fill(windows, event(2, MINUTE))
    assert windows.oldest_ms == 3 * MINUTE


def test_partition_far_ahead_is_named(app: AppConfig) -> None:
    """So that it can wait: a catch-up keeps a few windows in memory, not a week."""
    windows = fill(OpenWindows(app, MINUTE, {FIRST: 0, SECOND: 0}), event(0, MINUTE, partition=1), event(0, 9 * MINUTE))
    assert windows.ahead(2) == {FIRST}


def test_letters_about_earlier_records_are_told_apart(app: AppConfig) -> None:
    """A job that replays writes old dead letters again: they are counted and not judged."""
    windows = OpenWindows(app, MINUTE, {f"{DEAD_LETTERS_TOPIC}:0": 0})
    fill(windows, letter(0, 10 * MINUTE, 10 * MINUTE - 500), letter(1, 10 * MINUTE, 3 * MINUTE))
    window = windows.window(10 * MINUTE)
    assert (window.dead_letters, window.old_dead_letters) == ({"not_json": 1}, 1)
