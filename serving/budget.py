"""How much time a request still has."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """The moment by which a request must be answered.

    Args:
        ends_s: on `clock_s`.
        clock_s: tells the monotonic time.
    """

    ends_s: float
    clock_s: Callable[[], float] = time.perf_counter

    @classmethod
    def of(cls, seconds: float, clock_s: Callable[[], float] = time.perf_counter) -> Budget:
        """Return a budget that begins now."""
        return cls(clock_s() + seconds, clock_s)

    def left_s(self) -> float:
        """Return the seconds left, below zero where they are gone."""
        return self.ends_s - self.clock_s()


class CostEstimate:
    """What one way to rank takes of late: a moving mean of its durations, and how far they scatter.

    Args:
        first_s: what to believe before the first measurement.
    """

    _MEMORY = 0.05
    """Share of the newest duration in the mean: twenty requests decide."""
    _OUTLIER = 2.0
    """Durations count as at most this many times the safe one."""
    _FADING = 0.99
    """Seventy requests that do without it halve an estimate."""
    _LEAST = 0.25
    """Share of the newest duration below which no estimate fades: a deadline that short is never met."""

    def __init__(self, first_s: float) -> None:
        self._mean_s = first_s
        self._scatter_s = first_s / 2.0
        self._newest_s = first_s

    @property
    def mean_s(self) -> float:
        """The mean."""
        return self._mean_s

    @property
    def safe_s(self) -> float:
        """What it takes with rare exceptions: the mean and four times its scatter, as TCP judges round trips."""
        return self._mean_s + 4.0 * self._scatter_s

    def add(self, seconds: float) -> None:
        """Take one duration into account; one stall must not end ranking for a hundred requests."""
        self._newest_s = min(seconds, self._OUTLIER * self.safe_s)
        error_s = self._newest_s - self._mean_s
        self._mean_s += self._MEMORY * error_s
        self._scatter_s += self._MEMORY * (abs(error_s) - self._scatter_s)

    def fade(self) -> None:
        """Believe in a little less: what is not done for its cost is not measured either, and must be tried again."""
        if self._FADING * self.safe_s >= self._LEAST * self._newest_s:
            self._mean_s *= self._FADING
            self._scatter_s *= self._FADING
