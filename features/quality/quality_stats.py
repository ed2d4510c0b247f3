"""What the quality job says of itself: `STATE/quality.json` every second, which `headrace status` reads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from features.quality.profile import Profile

FILE_EVERY_MS = 1000
_LISTED = 20

_log = logging.getLogger(__name__)


class QualityStats:
    """Counts, written to a file.

    Args:
        path: the file, replaced atomically.
        now_ms: wall clock in milliseconds.
    """

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._last_file_ms = 0
        self._states: dict[str, int] = {}
        self._records = 0
        self._last_window: Profile | None = None

    def count_window(self, profile: Profile) -> None:
        """Count a closed window."""
        self._states[profile.state] = self._states.get(profile.state, 0) + 1
        self._records += profile.records
        self._last_window = profile

    def report(self, state: str, held: Callable[[], Mapping[int, Profile]], lag: Callable[[], int]) -> None:
        """Write the file where it is due; `held` and `lag` are asked only then."""
        now_ms = self._now_ms()
        if now_ms - self._last_file_ms < FILE_EVERY_MS:
            return
        self._last_file_ms = now_ms
        temporary = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(msgspec.json.encode(self._summary(state, now_ms, held(), lag())))
            temporary.replace(self._path)
        except OSError as error:  # A full disk must not stop the watch.
            _log.warning("cannot write %s: %s", self._path, error.strerror)

    def _summary(self, state: str, now_ms: int, held: Mapping[int, Profile], lag: int) -> dict[str, Any]:
        last = self._last_window
        newest = [held[start_ms] for start_ms in sorted(held)[-_LISTED:]]
        return {
            "state": state,
            "time_ms": now_ms,
            "started_ms": self._started_ms,
            "pid": os.getpid(),
            "windows": self._states,
            "records": self._records,
            "last_window_start_ms": last.window_start_ms if last else 0,
            "last_window_state": last.state if last else "",
            "held_windows": len(held),
            "held": [
                {
                    "window_start_ms": profile.window_start_ms,
                    "window_end_ms": profile.window_end_ms,
                    "is_final": profile.is_final,
                    "reasons": [reason.text for reason in profile.reasons],
                }
                for profile in newest
            ],
            "lag": lag,
        }
