"""Who likes what beyond kind users and good items: biased matrix factorisation, learnt event by event with replay.

`z ~ b_u + b_i + p_u . q_i` by stochastic gradient descent (Koren, Bell & Volinsky 2009,
https://doi.org/10.1109/MC.2009.263). Each event is followed by some of the recent ones, drawn with a generator that is
part of the state: once through is not enough for vectors to find each other.
Letters: `U` users, `N` items, `R` events kept for replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled

INPUT_NAMES = ("user_bias", "item_bias", "affinity")
_SIZE = 8
_RATE, _DECAY = 0.03, 0.08
_REPLAYS, _KEPT = 10, 20_000
"""Events learnt again after each, out of so many recent ones; trials in LOG.md."""
_SCALE = 0.1
_FIRST_ROWS = 64


class Factors(NamedTuple):
    """The arrays of `RatingFactors`, as compiled code takes them."""

    users: NDArray[np.float64]
    """(U, size + 1) vector and bias."""
    items: NDArray[np.float64]
    """(N, size + 1)"""
    kept_rows: NDArray[np.int64]
    """(R, 2) user and item of recent events."""
    kept_z: NDArray[np.float64]
    """(R,)"""
    state: NDArray[np.uint64]
    """(2,) of the generator; events learnt."""


class RatingFactors:
    """Vectors and biases of users and items.

    Args:
        seed: of initial vectors and of what is replayed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._users = self._rows(0, 0, _FIRST_ROWS)
        self._items = self._rows(1, 0, _FIRST_ROWS)
        self._kept_rows: NDArray[np.int64] = np.zeros((_KEPT, 2), dtype=np.int64)
        self._kept_z: NDArray[np.float64] = np.zeros(_KEPT)
        self._state: NDArray[np.uint64] = np.array([seed + 1, 0], dtype=np.uint64)
        """Of the generator; events learnt."""

    def inputs(self, user_row: int, item_row: int) -> NDArray[np.float32]:
        """Return biases and affinity, in the order of `INPUT_NAMES`; zeros of what is new (-1)."""
        found = np.zeros(len(INPUT_NAMES), dtype=np.float32)
        fill_affinity(found, user_row, item_row, self.reserved(user_row, item_row))
        return found

    def learn(self, user_row: int, item_row: int, z: float) -> None:
        """Take a step on an event, and one on each of some recent ones."""
        learn_rating(user_row, item_row, z, self.reserved(user_row, item_row))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything for a checkpoint."""
        used = min(int(self._state[1]), _KEPT)
        return {
            "users": self._users.copy(),
            "items": self._items.copy(),
            "kept_rows": self._kept_rows[:used].copy(),
            "kept_z": self._kept_z[:used].copy(),
            "state": self._state.copy(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self._users, self._items = arrays["users"].copy(), arrays["items"].copy()
        self._state = arrays["state"].copy()
        self._kept_rows[: len(arrays["kept_rows"])] = arrays["kept_rows"]
        self._kept_z[: len(arrays["kept_z"])] = arrays["kept_z"]

    def _rows(self, kind: int, start: int, end: int) -> NDArray[np.float64]:
        """Return new rows, a function of (seed, kind, start) as tables grow by doubling: (end - start, _SIZE + 1)."""
        rows = np.random.default_rng((self._seed, kind, start)).normal(0.0, _SCALE, (end - start, _SIZE + 1))
        rows[:, _SIZE] = 0.0
        return rows

    def reserved(self, user_row: int, item_row: int) -> Factors:
        """Make room for rows up to these, and return the arrays."""
        while user_row >= len(self._users):
            size = len(self._users)
            self._users = np.concatenate([self._users, self._rows(0, size, 2 * size)])
        while item_row >= len(self._items):
            size = len(self._items)
            self._items = np.concatenate([self._items, self._rows(1, size, 2 * size)])
        return Factors(self._users, self._items, self._kept_rows, self._kept_z, self._state)


@compiled
def fill_affinity(found: NDArray[np.float32], user_row: int, item_row: int, factors: Factors) -> None:
    """Write biases and affinity, in the order of `INPUT_NAMES`; zeros of what is new (-1)."""
    affinity = 0.0
    if user_row >= 0:
        found[0] = factors.users[user_row, _SIZE]
    if item_row >= 0:
        found[1] = factors.items[item_row, _SIZE]
    if user_row >= 0 and item_row >= 0:
        for index in range(_SIZE):
            affinity += factors.users[user_row, index] * factors.items[item_row, index]
    found[2] = affinity


@compiled
def learn_rating(user_row: int, item_row: int, z: float, factors: Factors) -> None:
    """Take a step on an event, and one on each of some recent ones."""
    kept_rows, kept_z, state = factors.kept_rows, factors.kept_z, factors.state
    place = state[1] % np.uint64(len(kept_z))
    kept_rows[place, 0], kept_rows[place, 1], kept_z[place] = user_row, item_row, z
    state[1] += np.uint64(1)
    used = min(state[1], np.uint64(len(kept_z)))
    _step(factors.users[user_row], factors.items[item_row], z)
    for _ in range(_REPLAYS):
        state[0] ^= state[0] << np.uint64(13)  # xorshift64 (Marsaglia 2003)
        state[0] ^= state[0] >> np.uint64(7)
        state[0] ^= state[0] << np.uint64(17)
        drawn = state[0] % used
        _step(factors.users[kept_rows[drawn, 0]], factors.items[kept_rows[drawn, 1]], kept_z[drawn])


@compiled
def _step(user: NDArray[np.float64], item: NDArray[np.float64], z: float) -> None:
    error = z - user[_SIZE] - item[_SIZE]
    for index in range(_SIZE):
        error -= user[index] * item[index]
    for index in range(_SIZE):
        of_user, of_item = user[index], item[index]
        user[index] += _RATE * (error * of_item - _DECAY * of_user)
        item[index] += _RATE * (error * of_user - _DECAY * of_item)
    user[_SIZE] += _RATE * (error - _DECAY * user[_SIZE])
    item[_SIZE] += _RATE * (error - _DECAY * item[_SIZE])
