"""What goes wrong in an hour of an app: each kind spoils the windows of a clean world, as strong as its seed says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from features.quality.event_columns import EventColumns
from features.quality.window_counts import WindowInput
from tests.features.quality.quality_world import ACTIONS, ids_of, joined, sliced

Spoil = Callable[[EventColumns, Generator], EventColumns]
_POSITIVE = [ACTIONS.index(name) for name in ("click", "like", "purchase")]
_VALUED = [ACTIONS.index(name) for name in ("view", "purchase", "rating")]
_VIEW, _RATING = ACTIONS.index("view"), ACTIONS.index("rating")
_FRESH = 2**40
"""Numbers that no id of the clean world has."""


def _doubled_ids(random: Generator) -> Spoil:
    """A producer sends again what it sent."""
    share = random.uniform(0.3, 1.0)
    return lambda c, r: joined(c, sliced(c, r.random(len(c.events)) < share))


def _shifted_values(random: Generator) -> Spoil:
    """Values in another unit, moved, or stuck at one number."""
    how = int(random.integers(3))
    factor = float(random.choice([0.01, 0.1, 10.0, 100.0, 1000.0]))
    stuck = float(random.choice([0.0, 1.0, 5.0, -1.0]))

    def spoil(c: EventColumns, _r: Generator) -> EventColumns:
        changed = (c.values * factor, c.values + 20.0, np.where(np.isnan(c.values), np.nan, stuck))[how]
        return replace(c, values=changed)

    return spoil


def _bot_user(random: Generator) -> Spoil:
    """One user makes a fifth to more than half of all events."""
    ratio = random.uniform(0.25, 1.2)
    bot, item = int(random.integers(2**30)), int(random.integers(2**30))
    mono = random.random() < 0.5

    def spoil(c: EventColumns, r: Generator) -> EventColumns:
        chosen = r.integers(0, max(1, len(c.events)), int(ratio * len(c.events)))
        own = sliced(c, chosen)
        numbers = _FRESH + r.integers(0, 2**50, len(chosen))
        own = replace(own, events=ids_of(numbers, 3), users=np.full(len(chosen), bot, dtype=np.uint64))
        if mono:
            own = replace(own, items=np.full(len(chosen), item, dtype=np.uint64))
        return joined(c, own)

    return spoil


def _label_flood(random: Generator) -> Spoil:
    """A broken client reports a click for most views."""
    share = random.uniform(0.5, 1.0)

    def spoil(c: EventColumns, r: Generator) -> EventColumns:
        is_hit = (c.actions == _VIEW) & (r.random(len(c.events)) < share)
        return replace(
            c, actions=np.where(is_hit, 1, c.actions).astype(np.int16), values=np.where(is_hit, np.nan, c.values)
        )

    return spoil


def _no_clicks(random: Generator) -> Spoil:
    """Nearly all positive feedback is lost on the way."""
    kept = random.uniform(0.0, 0.08)
    return lambda c, r: sliced(c, ~np.isin(c.actions, _POSITIVE) | (r.random(len(c.events)) < kept))


def _garbage(random: Generator) -> Spoil:
    """A share of the records misses a field, names an unknown action, or is no JSON."""
    share = random.uniform(0.15, 1.0)
    reason = str(random.choice(["missing_item_id", "unknown_action", "not_json", "bad_user_id"]))

    def spoil(c: EventColumns, r: Generator) -> EventColumns:
        is_hit = r.random(len(c.events)) < share
        return replace(sliced(c, ~is_hit), unusable={**c.unusable, reason: int(is_hit.sum())})

    return spoil


def _random_ids(random: Generator) -> Spoil:
    """User or item ids are made anew for every event."""
    share = random.uniform(0.4, 1.0)
    field = str(random.choice(["users", "items"]))

    def spoil(c: EventColumns, r: Generator) -> EventColumns:
        fresh = ids_of(_FRESH + r.integers(0, 2**50, len(c.events)), 5)
        is_hit = r.random(len(c.events)) < share
        return _with_ids(c, field, np.where(is_hit, fresh, getattr(c, field)))

    return spoil


def _one_id(random: Generator) -> Spoil:
    """Every second event or more says `undefined` where a user or item should be."""
    share = random.uniform(0.5, 1.0)
    field = str(random.choice(["users", "items"]))

    def spoil(c: EventColumns, r: Generator) -> EventColumns:
        is_hit = r.random(len(c.events)) < share
        return _with_ids(c, field, np.where(is_hit, np.uint64(4711), getattr(c, field)))

    return spoil


def _wrong_clock(random: Generator) -> Spoil:
    """The clocks of most producers are hours late or ahead."""
    share, hours = random.uniform(0.4, 1.0), float(random.choice([-6.0, -1.0, 2.0, 7.0]))

    def spoil(c: EventColumns, r: Generator) -> EventColumns:
        is_hit = r.random(len(c.events)) < share
        return replace(c, age_ms=np.where(is_hit, c.age_ms + int(hours * 3_600_000), c.age_ms))

    return spoil


def _with_ids(columns: EventColumns, field: str, ids: NDArray[np.uint64]) -> EventColumns:
    return replace(columns, users=ids) if field == "users" else replace(columns, items=ids)


KINDS: dict[str, Callable[[Generator], Spoil]] = {
    "doubled ids": _doubled_ids,
    "shifted values": _shifted_values,
    "bot user": _bot_user,
    "label flood": _label_flood,
    "no clicks": _no_clicks,
    "garbage": _garbage,
    "random ids": _random_ids,
    "one id": _one_id,
    "wrong clock": _wrong_clock,
}


def spoiled(window: WindowInput, spoil: Spoil, random: Generator) -> WindowInput:
    """Spoil one window; what the feature job cannot use is among its dead letters too."""
    columns = spoil(window.columns, random)
    return replace(window, columns=columns, dead_letters=dict(columns.unusable))
