"""Stage 5, diversify: not all of one kind, and pinned items where they belong.

Letters: `n` candidates, `m` candidates that diversity looks at, `D` embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalog import Catalog
from serving.config import DiversityConfig
from serving.list_filler import Cap, ListFiller
from serving.stages.rank import Ranking


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Candidates in the order in which a list is filled with them, and what holds while it is filled."""

    order: list[int]
    """(n,) best first."""
    caps: tuple[Cap, ...]
    pins: dict[int, int]
    """Place on the list -> candidate."""

    def filler(self, size: int) -> ListFiller:
        """Return an empty list of `size` places to be filled."""
        return ListFiller(self.order, self.caps, self.pins, size)

    def first(self, size: int) -> list[int]:
        """Return the list of `size` places as it is without exploration."""
        return self.filler(size).fill(size) if self.caps or self.pins else self.order[:size]


class Diversifier:
    """Orders candidates for a list.

    Args:
        config: caps and the weight of relevance.
    """

    def __init__(self, config: DiversityConfig) -> None:
        self._config = config

    def arrange(self, ranking: Ranking, catalog: Catalog, surface: str, num_items: int) -> Arrangement:
        """Return the order in which places are filled, with caps and pins of config and rules."""
        order = ranking.order
        if self._config.relevance_weight < 1.0:
            order = self._by_relevance_and_novelty(ranking, catalog, num_items)
        rules = catalog.rules_of(surface)
        caps = [Cap(members[ranking.rows].tolist(), most) for members, most in rules.caps]
        if self._config.category_cap:
            caps += _caps_by_category(catalog, ranking.rows, self._config.category_cap)
        pins = _found_pins(rules.pins, ranking.rows) if rules.pins else {}
        return Arrangement(order.tolist(), tuple(caps), pins)

    def _by_relevance_and_novelty(self, ranking: Ranking, catalog: Catalog, num_items: int) -> NDArray[np.int64]:
        """Return all candidates in a new order; those behind the looked-at ones keep theirs; (n,)."""
        size = max(self._config.candidates, num_items)
        best = ranking.order[:size]
        vectors = catalog.model.item_vectors[ranking.rows[best]]
        places = maximal_marginal_relevance(ranking.scores[best], vectors, self._config.relevance_weight)
        return np.concatenate([best[places], ranking.order[size:]])


def maximal_marginal_relevance(
    scores: NDArray[np.float32], vectors: NDArray[np.float32], relevance_weight: float
) -> NDArray[np.int64]:
    """Order items so that each is good and unlike those before it.

    Each next one maximises w * relevance - (1 - w) * largest cosine to an earlier one (Carbonell and Goldstein 1998,
    "The use of MMR", https://doi.org/10.1145/290941.291025); relevance is the score scaled to [0, 1].

    Args:
        scores: (m,)
        vectors: (m, D)
        relevance_weight: w; 1 orders by score alone.

    Returns:
        (m,) places.
    """
    spread = float(np.ptp(scores)) if len(scores) else 0.0
    relevance = relevance_weight * (scores - scores.min(initial=np.inf)) / (spread or 1.0)  # (m,)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    likeness = (1.0 - relevance_weight) * (unit @ unit.T)  # (m, m)
    nearest = np.full(len(scores), 0.0, dtype=np.float32)
    places = np.empty(len(scores), dtype=np.int64)
    for step in range(len(scores)):
        best = places[step] = int(np.argmax(relevance - nearest))
        nearest = likeness[best] if step == 0 else np.maximum(nearest, likeness[best])
        relevance[best] = -np.inf
    return places


def _caps_by_category(catalog: Catalog, rows: NDArray[np.int64], most: int) -> list[Cap]:
    """Return one cap for every category that more than `most` candidates have."""
    categories = catalog.context.table.categories[catalog.context.table_rows[rows]]  # (n, M)
    codes, counts = np.unique(categories, return_counts=True)
    capped = codes[(codes >= 0) & (counts > most)]
    return [Cap((categories == code).any(axis=1).tolist(), most) for code in capped]


def _found_pins(pins: tuple[tuple[int, int], ...], rows: NDArray[np.int64]) -> dict[int, int]:
    """Return place -> candidate for pinned rows that are candidates: only those may be shown."""
    return {place: int(found[0]) for place, row in pins if len(found := np.flatnonzero(rows == row))}
