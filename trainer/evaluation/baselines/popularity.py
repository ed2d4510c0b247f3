"""Decayed popularity: positives per item, halved every 500 positives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.grown import grown
from trainer.evaluation.baselines.tables import Tables, UserPast

HALF_LIFE_EVENTS = 500.0
_REBASE_AT = 512.0
"""Weights grow as 2^(positives / half-life); they are scaled back before 2^1023 is near."""


class DecayedPopularity:
    """Share of the recent positives. `N` items."""

    def __init__(self) -> None:
        self._weights = np.zeros(64)
        self._total = 0.0
        self._age = 0.0

    def shares(self, size: int) -> NDArray[np.float64]:
        """Return each item's share, (size,), summing to 1 once there is a positive."""
        self._weights = grown(self._weights, size)
        return self._weights[:size] / max(self._total, 1e-300)

    def add_positive(self, row: int) -> None:
        """Count one positive."""
        self._weights = grown(self._weights, row + 1)
        self._age += 1.0 / HALF_LIFE_EVENTS
        if self._age > _REBASE_AT:
            scale = 2.0**-self._age
            self._weights, self._total, self._age = self._weights * scale, self._total * scale, 0.0
        self._weights[row] += 2.0**self._age
        self._total += 2.0**self._age


class PopularityRanker:
    """Ranks all items by decayed popularity."""

    names: tuple[str, ...] = ("popularity",)
    history = 2

    def __init__(self) -> None:
        self._popularity = DecayedPopularity()

    def scores(self, _user: UserPast, tables: Tables) -> list[NDArray[np.float64]]:
        """Return one score an item, (N,), for each of `names`."""
        return [self._popularity.shares(len(tables))]

    def add(self, _before: list[int], row: int, is_positive: bool) -> None:
        """Learn one event."""
        if is_positive:
            self._popularity.add_positive(row)
