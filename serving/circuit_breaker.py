"""Leaves a failing dependency alone for a moment, so that its timeout is not paid by every request."""

from __future__ import annotations

from collections.abc import Callable


class CircuitBreaker:
    """Opens after some failures in a row; while open, one caller per pause may probe.

    Args:
        failures_to_open: failures in a row that open it.
        pause_s: how long it stays open before a probe.
        clock_s: tells the monotonic time.
    """

    def __init__(self, failures_to_open: int, pause_s: float, clock_s: Callable[[], float]) -> None:
        self._failures_to_open = failures_to_open
        self._pause_s = pause_s
        self._clock_s = clock_s
        self._failures = 0
        self._next_probe_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the dependency counts as dead."""
        return self._failures >= self._failures_to_open

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
        self._failures = 0

    def count_failure(self) -> None:
        """Count a failure; the one that opens starts the pause."""
        self._failures += 1
        if self._failures == self._failures_to_open:
            self._next_probe_s = self._clock_s() + self._pause_s
