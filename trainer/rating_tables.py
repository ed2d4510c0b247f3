"""What values users gave to items, in sums: how kind a user is, how good an item is, what a user thinks of a category.

A value is judged against what was to be expected: `z` is a value in standard deviations from the mean of all, and a
residual is what is left of `z` beside the item's mean and the user's residuals so far. Sums are shrunk towards zero by
a few made-up events, the usual way to start a mean (https://www.evanmiller.org/bayesian-average-ratings.html).
Letters: `U` users, `N` items, `M` categories of an item, `S` slots of the pair table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled
from features.grown import grown

INPUT_NAMES = (
    "user_mean",
    "item_mean",
    "user_residual",
    "item_residual",
    "user_label",
    "item_label",
    "user_count",
    "item_count",
    "user_gap",
    "user_spread",
    "user_recent",
    "user_category",
    "category_mean",
)
_COUNT, _SUM, _SQUARES, _RESIDUALS, _LABELS, _RECENT = range(6)
"""Columns of a user's and an item's sums; squares and recent of users only."""
_PRIOR, _LABEL_PRIOR, _CATEGORY_PRIOR = 5.0, 3.0, 10.0
"""Made-up events of an average user, item, label and category."""
_RECENT_RATE = 0.2
_MEMORY = 1000.0
"""Events after which the mean of all follows as fast as it forgets."""
_LARGEST = 4.0
"""Standard deviations that a value counts at most: a dwell time of a forgotten tab is no great love."""
_LARGEST_VALUE = 1e9
"""Squares of a larger one would leave no digit for others ..."""
_TRUSTED_EVENTS = 5
"""... and once a few have set the scale, none moves it by more than its `z`: it widens by steps."""
_FIRST_SLOTS = 1024
_EMPTY = -1


class Sums(NamedTuple):
    """All sums; what grows is replaced by a larger one."""

    world: NDArray[np.float64]
    """Events, mean, mean square deviation, mean label."""
    users: NDArray[np.float64]
    last_ms: NDArray[np.int64]
    items: NDArray[np.float64]
    categories: NDArray[np.float64]
    pair_keys: NDArray[np.int64]
    pairs: NDArray[np.float64]


class RatingTables:
    """Sums by user, item, category, and pair of user and category; all grow with what they hold."""

    def __init__(self) -> None:
        self._tables = Sums(
            world=np.zeros(4),
            users=np.zeros((64, 6)),
            last_ms=np.zeros(64, dtype=np.int64),
            items=np.zeros((64, 6)),
            categories=np.zeros((64, 2)),
            pair_keys=np.full(_FIRST_SLOTS, _EMPTY, dtype=np.int64),
            pairs=np.zeros((_FIRST_SLOTS, 2)),
        )
        self._num_pairs = 0

    def inputs(
        self, user_row: int, item_row: int, categories: NDArray[np.integer[Any]], time_ms: int
    ) -> NDArray[np.float32]:
        """Return what is known before an event, in the order of `INPUT_NAMES`.

        Args:
            user_row: -1 or beyond the table for a new user.
            item_row: the same for items.
            categories: (M,) category rows of the item, -1 behind the last.
            time_ms: of the event.
        """
        found = np.zeros(len(INPUT_NAMES), dtype=np.float32)
        fill_sums(found, user_row, item_row, categories, time_ms, self.reserved(user_row, item_row, categories))
        return found

    def add(
        self,
        user_row: int,
        item_row: int,
        categories: NDArray[np.integer[Any]],
        value: float,
        label: float,
        time_ms: int,
    ) -> float:
        """Count one event; return its `z`."""
        tables = self.reserved(user_row, item_row, categories)
        z = standardised(value, label, tables.world)
        self.note_pairs(count_rating(user_row, item_row, categories, z, label, time_ms, tables))
        return z

    def note_pairs(self, number: int) -> None:
        """Take over how many new pairs `count_rating` found."""
        self._num_pairs += number

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything for a checkpoint."""
        return {name: array.copy() for name, array in self._tables._asdict().items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self._tables = Sums(**{name: array.copy() for name, array in arrays.items()})
        self._num_pairs = int((self._tables.pair_keys != _EMPTY).sum())

    def reserved(self, user_row: int, item_row: int, categories: NDArray[np.integer[Any]]) -> Sums:
        """Make room for rows up to these and for a pair with each of `categories` (any shape), and return the sums."""
        tables = self._tables
        if user_row >= len(tables.users):
            users, last_ms = grown(tables.users, user_row + 1), grown(tables.last_ms, user_row + 1)
            tables = tables._replace(users=users, last_ms=last_ms)
        if item_row >= len(tables.items):
            tables = tables._replace(items=grown(tables.items, item_row + 1))
        if (last := int(categories.max(initial=-1))) >= len(tables.categories):
            tables = tables._replace(categories=grown(tables.categories, last + 1))
        while 2 * (self._num_pairs + categories.size) > len(tables.pairs):
            pair_keys, pairs = _rehashed(tables.pair_keys, tables.pairs)
            tables = tables._replace(pair_keys=pair_keys, pairs=pairs)
        self._tables = tables
        return tables


@compiled
def _slot(keys: NDArray[np.int64], user_row: int, category: int) -> int:
    """Return where a pair stands or would stand: linear probing behind a multiplicative hash (Knuth, TAOCP 6.4)."""
    key = user_row << 20 | category
    place = (key * 0x9E3779B97F4A7C1 & 0x7FFFFFFFFFFFFFFF) >> 20 & (len(keys) - 1)
    while keys[place] not in (key, _EMPTY):
        place = (place + 1) & (len(keys) - 1)
    return place


@compiled
def _rehashed(keys: NDArray[np.int64], pairs: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    new_keys, new_pairs = np.full(2 * len(keys), _EMPTY, dtype=np.int64), np.zeros((2 * len(keys), 2))
    for place in range(len(keys)):
        if keys[place] != _EMPTY:
            slot = _slot(new_keys, keys[place] >> 20, keys[place] & 0xFFFFF)
            new_keys[slot] = keys[place]
            new_pairs[slot] = pairs[place]
    return new_keys, new_pairs


@compiled
def standardised(value: float, label: float, world: NDArray[np.float64]) -> float:
    """Fold a value into mean and spread of all (Welford 1962), and return its distance from the mean before."""
    count, mean, square = world[0], world[1], world[2]
    spread = np.sqrt(square) if count > 1 and square > 0 else 1.0
    value = min(max(value, -_LARGEST_VALUE), _LARGEST_VALUE)
    z = min(max((value - mean) / spread, -_LARGEST), _LARGEST) if count else 0.0
    if count >= _TRUSTED_EVENTS:
        value = mean + z * spread
    share = 1.0 / min(count + 1.0, _MEMORY)
    step = share * (value - mean)
    world[0] += 1
    world[1] += step
    world[2] += share * ((value - mean) * (value - mean - step) - square)
    world[3] += share * (label - world[3])
    return z


@compiled
def fill_sums(
    found: NDArray[np.float32],
    user_row: int,
    item_row: int,
    categories: NDArray[Any],
    time_ms: int,
    tables: Sums,
) -> None:
    """Write what is known before an event, in the order of `INPUT_NAMES`; a new user or item is -1."""
    user = tables.users[user_row] if user_row >= 0 else np.zeros(6)
    item = tables.items[item_row] if item_row >= 0 else np.zeros(6)
    found[0] = user[_SUM] / (user[_COUNT] + _PRIOR)
    found[1] = item[_SUM] / (item[_COUNT] + _PRIOR)
    found[2] = user[_RESIDUALS] / (user[_COUNT] + _PRIOR)
    found[3] = item[_RESIDUALS] / (item[_COUNT] + _PRIOR)
    found[4] = user[_LABELS] / (user[_COUNT] + _LABEL_PRIOR)
    found[5] = item[_LABELS] / (item[_COUNT] + _LABEL_PRIOR)
    found[6], found[7] = np.log1p(user[_COUNT]), np.log1p(item[_COUNT])
    gap_s = (time_ms - tables.last_ms[user_row]) / 1000.0 if user_row >= 0 and user[_COUNT] > 0 else 3.0e6
    found[8] = np.log1p(max(gap_s, 0.0))
    found[9] = np.sqrt((user[_SQUARES] + _PRIOR) / (user[_COUNT] + _PRIOR))
    found[10] = user[_RECENT]
    of_pair, pair_count, of_category, used = 0.0, 0.0, 0.0, 0
    for category in categories:
        if category < 0:
            break
        of_category += tables.categories[category, 1] / (tables.categories[category, 0] + _CATEGORY_PRIOR)
        used += 1
        if user_row >= 0:
            slot = _slot(tables.pair_keys, user_row, category)
            pair_count += tables.pairs[slot, 0]
            of_pair += tables.pairs[slot, 1]
    found[11] = of_pair / (pair_count + _PRIOR)
    found[12] = of_category / max(used, 1)


@compiled
def count_rating(
    user_row: int,
    item_row: int,
    categories: NDArray[Any],
    z: float,
    label: float,
    time_ms: int,
    tables: Sums,
) -> int:
    """Add to all sums; return how many pairs are new."""
    user, item = tables.users[user_row], tables.items[item_row]
    of_user, of_item = user[_SUM] / (user[_COUNT] + _PRIOR), item[_SUM] / (item[_COUNT] + _PRIOR)
    residual = z - of_item - user[_RESIDUALS] / (user[_COUNT] + _PRIOR)
    new_pairs = 0
    for category in categories:
        if category < 0:
            break
        tables.categories[category, 0] += 1
        tables.categories[category, 1] += z
        slot = _slot(tables.pair_keys, user_row, category)
        if tables.pair_keys[slot] == _EMPTY:
            tables.pair_keys[slot] = user_row << 20 | category
            new_pairs += 1
        tables.pairs[slot, 0] += 1
        tables.pairs[slot, 1] += residual
    user[_RESIDUALS] += z - of_item
    item[_RESIDUALS] += z - of_user
    user[_SQUARES] += (z - of_user) ** 2
    user[_RECENT] += _RECENT_RATE * (z - of_item - user[_RECENT])
    for sums in (user, item):
        sums[_COUNT] += 1
        sums[_SUM] += z
        sums[_LABELS] += label - tables.world[3]
    tables.last_ms[user_row] = max(tables.last_ms[user_row], time_ms)
    return new_pairs
