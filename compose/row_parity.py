"""Rows of one view from two jobs side by side: which are proven equal, which differ, which cannot be told yet.

Both jobs write the same topics' worth of rows, each at its own pace, while events go on. A row is proven equal once any
state of it on one side equals any of the other's newest states in every field that both have. It differs where both
sides rest on the same newest event and are not equal. What moves is waited for; nobody waits for silence of all rows.
Sums of floats depend on the order of addition in their last digits, so they are equal within 1e-9.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from features.config import FeaturesConfig
from features.feature_topics import FeatureTopic

RUNNING, NEXT = 0, 1
"""The sides."""
REST_S = 10.0
"""Without news for this long a row rests."""
_STATES = 32
"""Kept of each side of a row that is not proven yet: a hot row is seldom in the same state on both sides at once."""
_TOLERANCE = 1e-9

Judge = Callable[[Any], bool]
"""Says of a row of the running job whether the other one can have the same."""


@dataclass
class _Pair:
    """One row that is not proven yet."""

    states: tuple[deque[dict[str, Any]], deque[dict[str, Any]]] = field(
        default_factory=lambda: (deque(maxlen=_STATES), deque(maxlen=_STATES))
    )
    news_s: float = 0.0

    def rests_on_one_event(self) -> bool:
        left, right = self.states
        return bool(left and right) and left[-1].get("event_time_ms") == right[-1].get("event_time_ms")


class RowParity:
    """The rows of one view.

    Args:
        entry: the view.
        can_be_equal: asked for each row of the running job; rows of which it says no are cut, not compared.
    """

    def __init__(self, entry: FeatureTopic, can_be_equal: Judge | None = None) -> None:
        self._entry = entry
        self._can_be_equal = can_be_equal
        self._open: dict[bytes, _Pair] = {}
        self._done: set[bytes] = set()
        self._is_frozen = False
        self.equal = 0
        self.cut = 0

    def take(self, side: int, key: bytes, value: bytes | None, now_s: float) -> None:
        """Take the next state of a row; a null value is the state of having no fields."""
        if key in self._done or (self._is_frozen and key not in self._open):
            return
        pair = self._open.setdefault(key, _Pair())
        pair.news_s = now_s
        row = self._entry.read(value) if value is not None else None
        if side == RUNNING and self._can_be_equal is not None and not (row is not None and self._can_be_equal(row)):
            self._close(key)
            self.cut += 1
            return
        state = _fields(row)
        pair.states[side].append(state)
        if any(_equal(state, other) for other in pair.states[1 - side]):
            self._close(key)
            self.equal += 1

    def freeze(self) -> None:
        """Look at no row beyond those known by now: traffic brings new ones without end."""
        self._is_frozen = True
        if self._can_be_equal is not None:
            # What only the next job has, the running one has forgotten: nothing to compare it with.
            for key in [key for key, pair in self._open.items() if not pair.states[RUNNING]]:
                self._close(key)
                self.cut += 1

    def different(self, now_s: float, is_over: bool) -> list[str]:
        """Name the rows that rest and are not equal.

        Args:
            now_s: monotonic time.
            is_over: nothing is waited for any more: rest on different events, or on one side only, counts too.
        """
        resting = ((key, pair) for key, pair in self._open.items() if now_s - pair.news_s >= REST_S)
        found = [key for key, pair in resting if is_over or pair.rests_on_one_event()]
        return [f"{self._entry.view} {key.decode(errors='replace')!r}" for key in found]

    @property
    def unproven(self) -> int:
        """How many rows are neither equal nor cut."""
        return len(self._open)

    def _close(self, key: bytes) -> None:
        del self._open[key]
        self._done.add(key)


def whole_since(view: str, features: FeaturesConfig, since_ms: int) -> Judge:
    """Return what says whether all that a row is made of came since a broker time.

    A list of the newest events that is not full has them all, so its oldest one tells. Rows of items and of all
    together name no event: none of theirs is taken for whole.
    """
    first_ms = since_ms + round(
        features.clock_skew_s * 1000
    )  # An event's own time may be that far ahead of the broker's.
    if view == "user_activity":
        return lambda row: _is_whole(row.history_times_ms, features.history_length, first_ms)
    if view == "user_exposure":
        return lambda row: _is_whole(row.shown_times_ms, features.exposure_length, first_ms)
    return lambda row: False


def _is_whole(times_ms: list[int] | None, limit: int, first_ms: int) -> bool:
    return bool(times_ms) and len(times_ms or ()) < limit and min(times_ms or ()) >= first_ms


def _fields(row: Any) -> dict[str, Any]:
    """Return what a row has: without a declared feature, the struct's `features` is null."""
    fields = msgspec.to_builtins(row) if row is not None else {}
    return {name: column for name, column in fields.items() if column is not None}


def _equal(left: Any, right: Any) -> bool:
    """Compare what both have; numbers within the tolerance."""
    if isinstance(left, dict) and isinstance(right, dict):
        return bool(left) == bool(right) and all(_equal(left[name], right[name]) for name in left.keys() & right.keys())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(left == right)
