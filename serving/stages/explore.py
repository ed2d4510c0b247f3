"""Stage 6, explore: in declared places a draw decides, and the chance of what was drawn is written down.

Letters: `n` candidates, `k` candidates of one draw.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serving.catalog import Catalog
from serving.config import ExplorationConfig
from serving.stages.diversify import Arrangement
from serving.stages.rank import Ranking

_MS_PER_H = 3_600_000.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A list as it is shown."""

    places: list[int]
    """Candidates, top first."""
    propensities: dict[int, float]
    """Place on the list -> chance of its item given those above; 1 for places that are not here."""
    explored: frozenset[int] = frozenset()
    """Places on the list where a draw put another item than the best."""


class Explorer:
    """Draws for the declared places.

    Args:
        config: places and policy.
        draw: returns a number in [0, 1).
    """

    def __init__(self, config: ExplorationConfig, draw: Callable[[], float] = random.random) -> None:
        self._config = config
        self._slots = frozenset(config.slots)
        self._draw = draw

    def explores(self, surface: str, learns: bool) -> bool:
        """Say whether lists of a surface are drawn for: what nobody learns from would be a cost for nothing."""
        config = self._config
        return config.policy != "off" and learns and (not config.surfaces or surface in config.surfaces)

    def fill(self, arrangement: Arrangement, ranking: Ranking, catalog: Catalog, num_items: int, now_ms: int) -> Shown:
        """Fill a list from the top; caps hold for what is drawn, pinned places are not drawn for."""
        filler = arrangement.filler(num_items)
        is_fresh = self._fresh(ranking, catalog, now_ms)
        propensities, explored = {}, []
        while (place := len(filler.chosen)) < num_items:
            if place not in self._slots or filler.pin_here() is not None:
                if not filler.put_best():
                    break
                continue
            pool = self._pool(filler.allowed(), is_fresh)
            if not pool:  # Only pins are left.
                if not filler.put_best():
                    break
                continue
            chances = slot_chances(ranking.scores[pool], is_fresh[pool], self._config)
            drawn = min(int(np.searchsorted(np.cumsum(chances), self._draw(), side="right")), len(pool) - 1)
            propensities[place] = float(chances[drawn])
            if drawn:
                explored.append(place)
            filler.put(pool[drawn])
        return Shown(filler.chosen, propensities, frozenset(explored))

    def _pool(self, allowed: Iterator[int], is_fresh: NDArray[np.bool_]) -> list[int]:
        """Return whom a draw may choose: the next best, and fresh ones further down."""
        near = list(islice(allowed, self._config.candidates))
        return [*near, *(one for one in allowed if is_fresh[one])] if self._config.fresh_share else near

    def _fresh(self, ranking: Ranking, catalog: Catalog, now_ms: int) -> NDArray[np.bool_]:
        """Say which candidates were published lately, (n,)."""
        published_ms = catalog.context.table.published_time_ms[catalog.context.table_rows[ranking.rows]]
        return np.asarray((published_ms > 0) & (now_ms - published_ms < self._config.fresh_h * _MS_PER_H))


def slot_chances(
    scores: NDArray[np.float32], is_fresh: NDArray[np.bool_], config: ExplorationConfig
) -> NDArray[np.float64]:
    """Return the chance of every item of a draw; they sum to 1, and the first item is the best.

    epsilon: (1 - e) on the best, e spread evenly over the nearest `config.candidates`, the best among them.
    softmax: exp(score / T) over the nearest. Either is mixed with an even draw of the fresh ones:
    (1 - f) * policy + f * [fresh] / number of fresh ones; f is 0 where there are none.

    Args:
        scores: (k,)
        is_fresh: (k,); items behind the nearest are all fresh.
        config: policy, e, T, f and how many are near.
    """
    chances = np.zeros(len(scores))
    near = min(len(scores), config.candidates)
    if config.policy == "epsilon":
        chances[:near] = config.epsilon / near
        chances[0] += 1.0 - config.epsilon
    else:
        logits = scores[:near].astype(np.float64) / config.temperature
        weights = np.exp(logits - logits.max())
        chances[:near] = weights / weights.sum()
    if config.fresh_share and is_fresh.any():
        chances *= 1.0 - config.fresh_share
        chances[is_fresh] += config.fresh_share / is_fresh.sum()
    return chances
