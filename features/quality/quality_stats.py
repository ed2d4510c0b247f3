"""What the quality job says of itself: `STATE/quality.json` every second, which `headrace status` reads."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from features.quality.profile import Profile
from features.whole_file import replace_file

FILE_EVERY_MS = 1000
_LISTED = 20
_DAY_MS = 86_400_000

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
        self.dead_letters: Counter[str] = Counter()
        """Of windows closed by this process, by reason."""
        self._with_letters: deque[Profile] = deque()
        """Closed windows of the last day in which records were rejected, oldest first."""
        self.last: Mapping[str, Any] = self._summary("starting", self._started_ms, {}, 0)
        """What was reported last, for other threads."""

    def recall(self, profile: Profile) -> None:
        """Take in a window that was closed before this process began."""
        if profile.dead_letters:
            self._with_letters.append(profile)

    def count_window(self, profile: Profile) -> None:
        """Count a closed window."""
        self._states[profile.state] = self._states.get(profile.state, 0) + 1
        self._records += profile.records
        self._last_window = profile
        self.dead_letters.update(profile.dead_letters)
        self.recall(profile)

    def report(self, state: str, held: Callable[[], Mapping[int, Profile]], lag: Callable[[], int]) -> None:
        """Write the file where it is due; `held` and `lag` are asked only then."""
        now_ms = self._now_ms()
        if now_ms - self._last_file_ms < FILE_EVERY_MS:
            return
        self._last_file_ms = now_ms
        self.last = self._summary(state, now_ms, held(), lag())
        try:
            replace_file(self._path, msgspec.json.encode(self.last))
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
            "windows": dict(self._states),
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
            "dead_letters_of_a_day": self._letters_since(now_ms - _DAY_MS),
            "lag": lag,
        }

    def _letters_since(self, since_ms: int) -> dict[str, int]:
        """Count by reason what was rejected in windows that begin at a time or later."""
        while self._with_letters and self._with_letters[0].window_start_ms < since_ms:
            self._with_letters.popleft()
        letters: Counter[str] = Counter()
        for profile in self._with_letters:
            letters.update(profile.dead_letters)
        return dict(letters.most_common())
