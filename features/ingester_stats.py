"""What the ingester says of itself: `STATE/ingester.json` every second, one log line every ten."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from features.durations import FRESHNESS_S, Durations
from features.feature_topics import FEATURE_TOPICS
from features.whole_file import replace_file

FILE_EVERY_MS = 1000
WRITE_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
LOG_EVERY_MS = 10_000
_WINDOW_MS = 30_000
"""Percentiles are over this much of the past, so that they say how it is now."""
_MAX_MEASUREMENTS = 20_000
_LATENCY_VIEW = FEATURE_TOPICS[0].view
"""Each event makes a row of the first view, so its rows time the way from event to feature."""

_log = logging.getLogger(__name__)


class WrittenRow(Protocol):
    """What is counted of a row."""

    view: str
    event_time_ms: int


class IngesterStats:
    """Counts and times, written to a file that `headrace status` and the demo read.

    Args:
        path: the file, replaced atomically.
        now_ms: wall clock in milliseconds.
        log: what the feature log says of itself.
    """

    def __init__(
        self, path: Path, now_ms: Callable[[], int], log: Callable[[], Mapping[str, Any]] = lambda: {}
    ) -> None:
        self._path = path
        self._log_summary = log
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._rows: Counter[str] = Counter()
        self._records = 0
        self._bad_records = 0
        self._retries = 0
        self.write_s = Durations(WRITE_S)
        """From the start of a round to the store's answer."""
        self.event_to_feature_s = Durations(FRESHNESS_S)
        """From events' own times until their rows could be read."""
        self._write_ms = _RecentTimes()
        self._event_to_feature_ms = _RecentTimes()
        self._last_file_ms = self._last_log_ms = 0
        self._last_log_rows = 0
        self.last: Mapping[str, Any] = self._summary("starting", self._started_ms, {})
        """What was reported last, for other threads."""

    def count_records(self, records: int, bad: int) -> None:
        """Count what was read."""
        self._records += records
        self._bad_records += bad

    def count_retry(self) -> None:
        """Count one write or claim that the store did not answer."""
        self._retries += 1

    def count_write(self, rows: Sequence[WrittenRow], wall_ms: float) -> None:
        """Count rows that can be read from now on."""
        now_ms = self._now_ms()
        self._rows.update(row.view for row in rows)
        self._write_ms.add(now_ms, wall_ms)
        self.write_s.add(wall_ms / 1000.0)
        ages_ms = [now_ms - row.event_time_ms for row in rows if row.view == _LATENCY_VIEW and row.event_time_ms]
        for age_ms in ages_ms:
            self._event_to_feature_ms.add(now_ms, age_ms)
        self.event_to_feature_s.add_many([age_ms / 1000.0 for age_ms in ages_ms])

    def report(self, state: str, lag: Callable[[], Mapping[str, int]]) -> None:
        """Write the file and the log line where they are due; `lag` is asked only then."""
        now_ms = self._now_ms()
        if now_ms - self._last_file_ms < FILE_EVERY_MS:
            return
        self._last_file_ms = now_ms
        summary = self.last = self._summary(state, now_ms, lag())
        try:
            replace_file(self._path, json.dumps(summary).encode())
        except OSError as error:  # A full disk must not stop the features.
            _log.warning("cannot write %s: %s", self._path, error.strerror)
        if now_ms - self._last_log_ms >= LOG_EVERY_MS:
            self._log(summary, now_ms)

    def _summary(self, state: str, now_ms: int, lag: Mapping[str, int]) -> dict[str, Any]:
        return {
            "state": state,
            "time_ms": now_ms,
            "started_ms": self._started_ms,
            "pid": os.getpid(),
            "records": self._records,
            "bad_records": self._bad_records,
            "rows": dict(self._rows),
            "rows_written": self._rows.total(),
            "retries": self._retries,
            "lag": dict(lag),
            "write_ms": self._write_ms.percentiles(now_ms),
            "event_to_feature_ms": self._event_to_feature_ms.percentiles(now_ms),
            "log": dict(self._log_summary()),
        }

    def _log(self, summary: Mapping[str, Any], now_ms: int) -> None:
        seconds = (now_ms - (self._last_log_ms or self._started_ms)) / 1000
        rows_per_s = (summary["rows_written"] - self._last_log_rows) / max(seconds, 0.001)
        self._last_log_ms, self._last_log_rows = now_ms, summary["rows_written"]
        _log.info(
            "%s: %.0f rows/s, %d rows, %d bad records, lag %d, write p50 %.1f ms, event to feature p50 %.0f ms",
            summary["state"],
            rows_per_s,
            summary["rows_written"],
            summary["bad_records"],
            sum(summary["lag"].values()),
            summary["write_ms"].get("p50", 0.0),
            summary["event_to_feature_ms"].get("p50", 0.0),
        )


class _RecentTimes:
    """Durations of the last 30 s."""

    def __init__(self) -> None:
        self._measured: deque[tuple[int, float]] = deque(maxlen=_MAX_MEASUREMENTS)

    def add(self, now_ms: int, duration_ms: float) -> None:
        self._measured.append((now_ms, duration_ms))

    def percentiles(self, now_ms: int) -> dict[str, float]:
        """Return `p50` and `p99` in milliseconds; empty when nothing happened."""
        while self._measured and self._measured[0][0] < now_ms - _WINDOW_MS:
            self._measured.popleft()
        if not self._measured:
            return {}
        p50, p99 = np.percentile([duration_ms for _, duration_ms in self._measured], (50, 99))
        return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
