"""P(item given the user's last five items), mixed with decayed popularity: the best simple method we know.

Two ways to count pairs, each best on one data set at hand: `after` counts what was wanted after an item (films as they
come out), `with` also the other way round (a catalogue that everybody works through). Letters: `N` items.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.baselines.popularity import DecayedPopularity
from trainer.evaluation.baselines.tables import Tables, UserPast

LAST = 5
"""Newest items of the user that predict the next one, each with a fifth of the say."""
PAIRED = 20
"""Newest items of the user that a positive is paired with."""
PRIOR_EVENTS = 10.0
"""Added to an item's events, so that few of them say little."""
KINDS = ("after", "with")
SHARES = {"1:1": 0.5, "9:1": 0.9}
"""How much of the score is co-visitation."""


class CoVisitationRanker:
    """Pair counts over the user's newest items, and events per item."""

    names: tuple[str, ...] = tuple(f"covisitation {kind} {mix}" for kind, mix in product(KINDS, SHARES))
    history = PAIRED

    def __init__(self) -> None:
        self._popularity = DecayedPopularity()
        self._events: dict[int, float] = {}
        self._pairs: dict[str, dict[int, dict[int, float]]] = {kind: {} for kind in KINDS}
        """Kind -> item row -> row of a paired item -> pairs."""

    def scores(self, user: UserPast, tables: Tables) -> list[NDArray[np.float64]]:
        """Return one score an item, (N,), for each of `names`."""
        popularity = self._popularity.shares(len(tables))
        chances = [self._chances(kind, user.newest[-LAST:], len(tables)) for kind in KINDS]
        return [share * one + (1.0 - share) * popularity for one, share in product(chances, SHARES.values())]

    def add(self, before: list[int], row: int, is_positive: bool) -> None:
        """Learn one event; `before` are the user's newest items before it, oldest first."""
        self._events[row] = self._events.get(row, 0.0) + 1.0
        if not is_positive:
            return
        for previous in before[-PAIRED:]:
            self._count("after", previous, row)
            self._count("with", previous, row)
            self._count("with", row, previous)
        self._popularity.add_positive(row)

    def _chances(self, kind: str, rows: list[int], size: int) -> NDArray[np.float64]:
        chances = np.zeros(size)
        for row in rows:
            pairs = self._pairs[kind].get(row)
            if pairs:
                others = np.fromiter(pairs.keys(), dtype=np.int64, count=len(pairs))
                counts = np.fromiter(pairs.values(), dtype=np.float64, count=len(pairs))
                chances[others] += counts / (LAST * (self._events[row] + PRIOR_EVENTS))
        return chances

    def _count(self, kind: str, row: int, other: int) -> None:
        pairs = self._pairs[kind].setdefault(row, {})
        pairs[other] = pairs.get(other, 0.0) + 1.0
