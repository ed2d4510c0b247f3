"""Records become windows by broker time, partition by partition, so that a window is a range of offsets in each.

Broker time never falls within a partition; where a broker's clock was set back all the same, a record belongs to the
newest window its partition had reached. A window is complete once every partition has reached a later one, or has
nothing more to give while the clock is past the window's end and the grace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from typing import Any

import msgspec

from features.config import AppConfig
from features.json_records import JsonDecoder
from features.quality.event_columns import ColumnBuffer
from features.quality.profile import OffsetRange
from features.quality.window_counts import WindowInput

EVENTS_TOPIC = "headrace.events.v1"
DEAD_LETTERS_TOPIC = "headrace.events.dlq.v1"
_OLD_LETTER_MS = 60_000
"""A dead letter about a record older than this against its window is of a job that replays or catches up."""


class _Letter(msgspec.Struct):
    reason: str
    record_time_ms: int = 0


_letter_decoder = JsonDecoder(_Letter)


class _OpenWindow:
    """What has come of one window so far."""

    def __init__(self, app: AppConfig) -> None:
        self.buffer = ColumnBuffer(app)
        self.letters: Counter[str] = Counter()
        self.old_letters = 0
        self.next_offsets: dict[str, int] = {}


class OpenWindows:
    """Windows that are not closed yet.

    Args:
        app: declared actions.
        window_ms: length of a window.
        positions: `topic:partition` -> next offset, of every partition that is read.
        floor_ms: no window begins before this.
    """

    def __init__(self, app: AppConfig, window_ms: int, positions: Mapping[str, int], floor_ms: int = 0) -> None:
        self._app = app
        self._window_ms = window_ms
        self.floor_ms = floor_ms
        """End of the newest closed window."""
        self._reached_ms = dict.fromkeys(positions, floor_ms)
        """Start of the newest window that each partition has reached."""
        self._windows: dict[int, _OpenWindow] = {}
        self.closed_offsets = dict(positions)
        """Where the closed windows end."""

    @property
    def oldest_ms(self) -> int | None:
        """Start of the oldest open window, None where nothing has come."""
        return min(self._windows, default=None)

    def append(self, topic: str, partition: int, record: Any) -> None:
        """Take in one record of a Kafka consumer."""
        name = f"{topic}:{partition}"
        own_ms = record.timestamp // self._window_ms * self._window_ms
        start_ms = self._reached_ms[name] = max(own_ms, self._reached_ms[name], self.floor_ms)
        window = self._windows.get(start_ms)
        if window is None:
            window = self._windows[start_ms] = _OpenWindow(self._app)
        window.next_offsets[name] = record.offset + 1
        if topic == EVENTS_TOPIC:
            window.buffer.append(record.value, record.timestamp)
        else:
            self._append_letter(window, start_ms, record.value)

    def size(self, start_ms: int) -> int:
        """Return how many event records a window has so far."""
        return len(self._windows[start_ms].buffer)

    def is_complete(self, start_ms: int, drained: Set[str], now_ms: int, grace_ms: int) -> bool:
        """Say whether nothing more can come for a window.

        Args:
            start_ms: of the oldest open window.
            drained: partitions that are read to their end.
            now_ms: the clock.
            grace_ms: what an idle partition gets beyond the end.
        """
        is_over = now_ms >= start_ms + self._window_ms + grace_ms
        return all(reached > start_ms or (is_over and name in drained) for name, reached in self._reached_ms.items())

    def ahead(self, windows: int) -> set[str]:
        """Return the partitions that are more than so many windows ahead of the oldest: they should wait."""
        oldest_ms = self.oldest_ms
        if oldest_ms is None:
            return set()
        limit_ms = oldest_ms + windows * self._window_ms
        return {name for name, reached in self._reached_ms.items() if reached > limit_ms}

    def window(self, start_ms: int) -> WindowInput:
        """Return a window as of now."""
        window = self._windows[start_ms]
        offsets = {
            name: OffsetRange(from_offset, window.next_offsets.get(name, from_offset))
            for name, from_offset in self.closed_offsets.items()
        }
        end_ms = start_ms + self._window_ms
        columns = window.buffer.columns()
        return WindowInput(start_ms, end_ms, columns, offsets, dict(window.letters), window.old_letters)

    def close(self, start_ms: int) -> None:
        """Forget the oldest window: what comes for it from now on belongs to the next."""
        self.closed_offsets.update(self._windows.pop(start_ms).next_offsets)
        self.floor_ms = start_ms + self._window_ms

    def _append_letter(self, window: _OpenWindow, start_ms: int, raw: bytes | None) -> None:
        try:
            letter = _letter_decoder.decode(raw or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            window.letters["not_a_dead_letter"] += 1
            return
        if letter.record_time_ms < start_ms - _OLD_LETTER_MS:
            window.old_letters += 1
        else:
            window.letters[letter.reason] += 1
