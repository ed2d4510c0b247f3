"""P(item given the user's last five positives), mixed with decayed popularity: the best simple method we know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.baselines.popularity import DecayedPopularity
from trainer.evaluation.baselines.tables import Tables, UserPast

LAST = 5
"""Positives of the user that predict the next one, each with the same say."""
SHARES = {"covisitation 1:1": 0.5, "covisitation 9:1": 0.9}
"""How much of the score is co-visitation."""


class CoVisitationRanker:
    """Pair counts of a positive and the positives up to `LAST` before it. `N` items."""

    names: tuple[str, ...] = tuple(SHARES)
    history = LAST

    def __init__(self) -> None:
        self._popularity = DecayedPopularity()
        self._next: dict[int, dict[int, float]] = {}
        """Item row -> row of a later positive -> pairs."""

    def scores(self, user: UserPast, tables: Tables) -> list[NDArray[np.float64]]:
        """Return one score an item, (N,), for each of `names`."""
        size = len(tables)
        chances = np.zeros(size)
        found = [followers for row in user.positives[-LAST:] if (followers := self._next.get(row))]
        for followers in found:
            rows = np.fromiter(followers.keys(), dtype=np.int64, count=len(followers))
            counts = np.fromiter(followers.values(), dtype=np.float64, count=len(followers))
            chances[rows] += counts / (counts.sum() * len(found))
        popularity = self._popularity.shares(size)
        return [share * chances + (1.0 - share) * popularity for share in SHARES.values()]

    def add(self, before: list[int], row: int, is_positive: bool) -> None:
        """Learn one event; `before` are the user's positives before it, oldest first."""
        if not is_positive:
            return
        for previous in before[-LAST:]:
            followers = self._next.setdefault(previous, {})
            followers[row] = followers.get(row, 0.0) + 1.0
        self._popularity.add_positive(row)
