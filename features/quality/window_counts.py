"""From the columns of a window to its profile: pure counting, vectorised; nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.config import AppConfig
from features.quality.config import QualityConfig
from features.quality.event_columns import EventColumns, outcomes
from features.quality.profile import ITEM_BUCKETS, VALUE_BINS, OffsetRange, Profile, ValueProfile
from features.quality.seen_filter import SeenFilter

LATE_MS = 3_600_000
TOP_USERS = 10
_BINS_PER_ASINH, _ZERO_BIN = 3.0, 12
_DAY_MS = 86_400_000


class IdMemory:
    """The ids of the past: events for the deduplication horizon, users and items for 28 days.

    Args:
        config: sizes.
        horizon_h: of the deduplication.
    """

    def __init__(self, config: QualityConfig, horizon_h: float) -> None:
        self._config, self._horizon_ms = config, int(horizon_h * 3_600_000)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        config = self._config
        self.filters = {
            "events": SeenFilter(config.event_memory_mb, self._horizon_ms),
            "users": SeenFilter(config.id_memory_mb, 28 * _DAY_MS),
            "items": SeenFilter(config.id_memory_mb, 28 * _DAY_MS),
        }

    def add(self, counted: CountedWindow) -> None:
        """Remember the ids of a closed window."""
        for name, keys in counted.ids.items():
            self.filters[name].add(keys, counted.profile.window_end_ms)


@dataclass(frozen=True)
class CountedWindow:
    """A profile without verdict, and the distinct ids behind it."""

    profile: Profile
    ids: Mapping[str, NDArray[np.uint64]]


@dataclass(frozen=True)
class WindowInput:
    """All that a profile is a function of, beside the memory."""

    start_ms: int
    end_ms: int
    columns: EventColumns
    offsets: Mapping[str, OffsetRange] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    old_dead_letters: int = 0


def count_window(window: WindowInput, app: AppConfig, memory: IdMemory) -> CountedWindow:
    """Count one window against the memory, which stays as it is."""
    columns = window.columns
    names = list(app.actions)
    by_action = np.bincount(columns.actions, minlength=len(names))
    seconds = (window.end_ms - window.start_ms) / 1000
    said = outcomes(columns.actions, columns.values, app.actions)
    ids = {"events": np.unique(columns.events)}
    ids["users"], user_counts = np.unique(columns.users, return_counts=True)
    ids["items"], item_counts = np.unique(columns.items, return_counts=True)
    seen = {name: int(memory.filters[name].contains(keys).sum()) for name, keys in ids.items()}
    top = np.sort(user_counts)[-TOP_USERS:]
    has_value = ~np.isnan(columns.values)
    profile = Profile(
        window_start_ms=window.start_ms,
        window_end_ms=window.end_ms,
        offsets=dict(sorted(window.offsets.items())),
        records=columns.records,
        events=len(columns.events),
        unusable=dict(sorted(columns.unusable.items())),
        dead_letters=dict(sorted(window.dead_letters.items())),
        old_dead_letters=window.old_dead_letters,
        actions={name: int(count) for name, count in zip(names, by_action, strict=True)},
        rates_per_s={name: round(int(count) / seconds, 4) for name, count in zip(names, by_action, strict=True)},
        positives=int((said > 0).sum()),
        negatives=int((said < 0).sum()),
        duplicates=len(columns.events) - len(ids["events"]) + seen["events"],
        users=len(ids["users"]),
        items=len(ids["items"]),
        new_users=len(ids["users"]) - seen["users"],
        new_items=len(ids["items"]) - seen["items"],
        top_user_events=int(top[-1]) if len(top) else 0,
        top_users_events=int(top.sum()),
        top_item_events=int(item_counts.max()) if len(item_counts) else 0,
        requests=int(columns.has_request.sum()),
        late=int((columns.age_ms > LATE_MS).sum()),
        ahead=int((columns.age_ms < -1000 * app.features.clock_skew_s).sum()),
        valued=_valued(columns, has_value, names),
        values=_values(columns, has_value, names),
        item_buckets=_item_buckets(columns.items),
        memory_s={name: kept.memory_ms(window.start_ms) // 1000 for name, kept in memory.filters.items()},
    )
    return CountedWindow(profile, ids)


def value_bins(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each finite value: even steps of asinh, so ratings 1 to 5 differ and prices fit too."""
    steps = np.rint(_BINS_PER_ASINH * np.arcsinh(values)) + _ZERO_BIN
    bins: NDArray[np.int64] = np.clip(steps, 0, VALUE_BINS - 1).astype(np.int64)
    return bins


def _item_buckets(items: NDArray[np.uint64]) -> list[int]:
    buckets: list[int] = np.bincount((items % ITEM_BUCKETS).astype(np.int64), minlength=ITEM_BUCKETS).tolist()
    return buckets


def _valued(columns: EventColumns, has_value: NDArray[np.bool_], names: list[str]) -> dict[str, int]:
    counts = np.bincount(columns.actions[has_value], minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _values(columns: EventColumns, has_value: NDArray[np.bool_], names: list[str]) -> dict[str, ValueProfile]:
    actions, values = columns.actions[has_value], columns.values[has_value]
    profiles = {}
    bins = value_bins(values)
    for row in np.flatnonzero(np.bincount(actions, minlength=len(names))).tolist():
        is_own = actions == row
        own, counts = np.sort(values[is_own]), np.bincount(bins[is_own])  # Sorted: sums that know no order of arrival.
        mean, middle = float(own.sum()) / len(own), len(own) // 2
        profiles[names[row]] = ValueProfile(
            count=len(own),
            mean=mean,
            std=float(np.sqrt(((own - mean) ** 2).sum() / len(own))),
            min=float(own[0]),
            median=float(own[middle] if len(own) % 2 else (own[middle - 1] + own[middle]) / 2),
            max=float(own[-1]),
            bins={place: int(counts[place]) for place in np.flatnonzero(counts).tolist()},
        )
    return profiles
