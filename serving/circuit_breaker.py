"""Leaves a failing dependency alone for a moment, so that its timeout is not paid by every request."""

from __future__ import annotations

from collections.abc import Callable


class CircuitBreaker:
    """Opens when failures last; while open, one caller per pause may probe.

    Time decides, not a number of failures: one stall fails all calls in flight at the same moment.

    Args:
        open_after_s: time from the first failure without a success after which it opens.
        pause_s: how long it stays open before a probe.
        clock_s: tells the monotonic time.
    """

    def __init__(self, open_after_s: float, pause_s: float, clock_s: Callable[[], float]) -> None:
        self.is_open = False
        self._open_after_s = open_after_s
        self._pause_s = pause_s
        self._clock_s = clock_s
        self._failing_since_s: float | None = None
        self._next_probe_s = 0.0

    def may_call(self) -> bool:
        """Say whether to call now; while open this lets one caller through per pause."""
        if not self.is_open:
            return True
        now_s = self._clock_s()
        if now_s < self._next_probe_s:
            return False
        self._next_probe_s = now_s + self._pause_s
        return True

    def count_success(self) -> None:
        """Close."""
        self.is_open = False
        self._failing_since_s = None

    def count_failure(self) -> None:
        """Count a failure; the one that opens starts the pause."""
        now_s = self._clock_s()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if not self.is_open and now_s - self._failing_since_s >= self._open_after_s:
            self.is_open = True
            self._next_probe_s = now_s + self._pause_s
