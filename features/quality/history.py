"""Past windows as arrays, and the two references that a window is judged against.

    trailing   the newest accepted windows: "different from an hour ago?"
    seasonal   up to 15 accepted windows within half an hour of this time of day, 1 to 7, 14, 21 and 28 days before:
               "different from what is usual now?"

A window is accepted when nothing held it or ops released it. Letters: `W` windows, `M` metrics, `R` reference windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.quality.config import QualityConfig
from features.quality.metrics import MetricTable
from features.quality.profile import ITEM_BUCKETS, VALUE_BINS, Profile

_DAY_MS = 86_400_000
_SEASON_DAYS = (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)
_HALF_SEASON_MS = 1_800_000
_SEASON_WINDOWS = 15
"""Windows of one day that are looked at: more tell little, as they are alike."""
_KEPT_DAYS = 29
_MEMORIES = ("events", "users", "items")


class Reference:
    """Windows to compare with; arrays are gathered when asked for.

    Args:
        history: where they lie.
        slots: their places in it, (R,), oldest first.
    """

    def __init__(self, history: History, slots: NDArray[np.int64]) -> None:
        self._history = history
        self._slots = slots

    def __len__(self) -> int:
        return len(self._slots)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """(R, M), see `MetricTable.row`."""
        return self._history.values[self._slots].astype(np.float64)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(R, M), likewise."""
        return self._history.weights[self._slots].astype(np.float64)

    @cached_property
    def figures(self) -> NDArray[np.float64]:
        """(R, M): shares with their variance stabilised, the rest as it is, NaN where there is nothing to tell."""
        return self._history.figures[self._slots].astype(np.float64)

    @cached_property
    def item_buckets(self) -> NDArray[np.float64]:
        """(64,) summed over the windows."""
        return _summed(self._history.item_buckets, self._slots)

    @cached_property
    def actions(self) -> NDArray[np.float64]:
        """(A,) events, summed over the windows."""
        return _summed(self._history.action_counts, self._slots)

    def value_bins(self, action: str) -> NDArray[np.float64]:
        """Return the events by value bin (48,), summed over the windows."""
        bins = self._history.value_bins.get(action)
        return np.zeros(VALUE_BINS) if bins is None else _summed(bins, self._slots)

    @cached_property
    def memory_s(self) -> dict[str, float]:
        """Median reach of the id memories."""
        medians = np.median(self._history.memory_s[self._slots], axis=0) if len(self) else np.zeros(len(_MEMORIES))
        return dict(zip(_MEMORIES, medians.tolist(), strict=True))


class History:
    """The profiles of the last 29 days.

    Args:
        config: window length and reference sizes.
        table: layout of the metrics.
        actions: declared actions.
    """

    def __init__(self, config: QualityConfig, table: MetricTable, actions: Sequence[str]) -> None:
        self._config = config
        self._table = table
        self._actions = tuple(actions)
        self._window_ms = 1000 * config.window_s
        size = _KEPT_DAYS * _DAY_MS // self._window_ms
        self._starts = np.full(size, -1, dtype=np.int64)
        self._is_accepted = np.zeros(size, dtype=bool)
        self.values = np.zeros((size, len(table.metrics)), dtype=np.float32)
        self.weights = np.zeros((size, len(table.metrics)), dtype=np.float32)
        self.figures = np.full((size, len(table.metrics)), np.nan, dtype=np.float32)
        self.item_buckets = np.zeros((size, ITEM_BUCKETS), dtype=np.float32)
        self.action_counts = np.zeros((size, len(self._actions)), dtype=np.float32)
        self.value_bins: dict[str, NDArray[np.float32]] = {}
        self.memory_s = np.zeros((size, len(_MEMORIES)), dtype=np.float32)
        self._newest_accepted: list[int] = []
        """Starts, oldest first, a few more than the trailing reference takes."""
        self._season_ms = _season_offsets(self._window_ms)

    def add(self, profile: Profile, is_accepted: bool) -> None:
        """Keep a closed window; one of another length, or older than all that is kept, is of no use."""
        start_ms = profile.window_start_ms
        slot = start_ms // self._window_ms % len(self._starts)
        if profile.window_ms != self._window_ms or self._starts[slot] > start_ms:
            return
        self._starts[slot] = start_ms
        values, weights = self._table.row(profile)
        self.values[slot], self.weights[slot] = values, weights
        self.figures[slot] = self._table.figures(values, weights)
        self.item_buckets[slot] = profile.item_buckets or 0
        self.action_counts[slot] = [profile.actions.get(action, 0) for action in self._actions]
        self.memory_s[slot] = [profile.memory_s.get(name, 0) for name in _MEMORIES]
        for bins in self.value_bins.values():
            bins[slot] = 0
        for action, told in profile.values.items():
            if action not in self.value_bins:
                self.value_bins[action] = np.zeros((len(self._starts), VALUE_BINS), dtype=np.float32)
            self.value_bins[action][slot, list(told.bins)] = list(told.bins.values())
        self.set_accepted(start_ms, is_accepted)

    def set_accepted(self, start_ms: int, is_accepted: bool) -> None:
        """Take a window into the references, or out of them."""
        slot = start_ms // self._window_ms % len(self._starts)
        if self._starts[slot] != start_ms:
            return
        self._is_accepted[slot] = is_accepted
        newest = self._newest_accepted
        if not is_accepted:
            if start_ms in newest:
                newest.remove(start_ms)
        elif not newest or start_ms > newest[-1]:
            newest.append(start_ms)
        elif start_ms not in newest:
            newest.append(start_ms)
            newest.sort()
        del newest[: -2 * self._config.trailing_windows]

    def trailing(self) -> Reference:
        """Return the newest accepted windows."""
        starts = np.array(self._newest_accepted[-self._config.trailing_windows :], dtype=np.int64)
        return Reference(self, starts // self._window_ms % len(self._starts))

    def seasonal(self, start_ms: int) -> Reference:
        """Return the accepted windows around this time on days before `start_ms`."""
        starts = start_ms + self._season_ms
        slots = starts // self._window_ms % len(self._starts)
        return Reference(self, slots[(self._starts[slots] == starts) & self._is_accepted[slots]])


def _summed(rows: NDArray[np.float32], slots: NDArray[np.int64]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = rows[slots].sum(axis=0, dtype=np.float64)
    return total


def _season_offsets(window_ms: int) -> NDArray[np.int64]:
    """Return the distances in ms to the windows of the seasonal reference, all negative, oldest first."""
    reach = max(1, _HALF_SEASON_MS // window_ms)
    steps = np.unique(np.rint(np.linspace(-reach, reach, min(2 * reach + 1, _SEASON_WINDOWS))).astype(np.int64))
    around = steps * window_ms
    days = [day * _DAY_MS // window_ms * window_ms for day in reversed(_SEASON_DAYS)]
    return np.concatenate([around - day for day in days])
