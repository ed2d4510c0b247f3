"""A window of few events judged together with those before it: what one quiet minute cannot show, ten can."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from features.quality.profile import DROPPED, RELEASED, Profile, ValueProfile

MAX_WINDOWS = 10
"""Windows that are judged together at most: after so many an incident fills the pool."""

_COUNTS = (
    "records",
    "events",
    "positives",
    "negatives",
    "duplicates",
    "users",
    "items",
    "new_users",
    "new_items",
    "requests",
    "late",
    "ahead",
)
"""Summed as they are, distinct ids of each window too, as references sum them. What the most active did is left out:
the fewer events a window has, the larger their share."""
_TABLES = ("unusable", "dead_letters", "actions", "valued")


def windows_to_pool(
    profile: Profile, before: Callable[[int], Profile | None], enough_records: int
) -> Sequence[Profile]:
    """Return a window behind as many of those right before it as make enough records together, oldest first.

    What ops released or dropped ends it: that is settled, and no evidence for anything later.

    Args:
        profile: the window.
        before: finds the closed window that starts at a time.
        enough_records: 0 takes none.
    """
    windows = [profile]
    records = profile.records
    while records < enough_records and len(windows) < MAX_WINDOWS:
        earlier = before(windows[-1].window_start_ms - profile.window_ms)
        if earlier is None or earlier.state in (RELEASED, DROPPED):
            break
        windows.append(earlier)
        records += earlier.records
    return windows[::-1]


def pooled(windows: Sequence[Profile]) -> Profile:
    """Return one profile of neighbouring windows, oldest first, as far as rules look: of values counts and bins."""
    sums: dict[str, Any] = {name: sum(getattr(window, name) for window in windows) for name in _COUNTS}
    sums |= {name: _summed(getattr(window, name) for window in windows) for name in _TABLES}
    return Profile(
        window_start_ms=windows[0].window_start_ms,
        window_end_ms=windows[-1].window_end_ms,
        values=_values(windows),
        item_buckets=[sum(column) for column in zip(*(w.item_buckets for w in windows if w.item_buckets), strict=True)],
        memory_s=windows[-1].memory_s,
        **sums,
    )


def _summed(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for table in tables:
        total.update(table)
    return dict(total)


def _values(windows: Sequence[Profile]) -> dict[str, ValueProfile]:
    bins: dict[str, Counter[int]] = {}
    for window in windows:
        for action, told in window.values.items():
            bins.setdefault(action, Counter()).update(told.bins)
    nothing = (math.nan,) * 5
    return {action: ValueProfile(own.total(), *nothing, bins=dict(own)) for action, own in bins.items()}
