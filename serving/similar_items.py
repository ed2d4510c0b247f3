"""Items like a given one, by vector and co-visitation, within the time there is."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.item_table import ItemTable
from serving.answers import (
    NO_MODEL,
    POPULARITY_ONLY,
    UNKNOWN_ITEM,
    RankedItem,
    RankedList,
    RecommendQuery,
    without_inputs,
)
from serving.budget import Budget, CostEstimate
from serving.fallback import FallbackLadder
from serving.serving_model import ServingModel

_FIRST_COST_S = 0.003
"""What a comparison is believed to take before the first was measured."""


class SimilarItems:
    """Finds items like one, where there is time for it.

    Args:
        items: tells what is available.
        fallback: answers where items cannot be compared.
    """

    def __init__(self, items: ItemTable, fallback: FallbackLadder) -> None:
        self._items = items
        self._fallback = fallback
        self._cost = CostEstimate(_FIRST_COST_S)

    def find(
        self, model: ServingModel | None, item_id: str, num_items: int, now_ms: int, budget: Budget
    ) -> tuple[RankedList, float | None]:
        """Return the list and the seconds that comparing took; None where popularity answers."""
        row = -1 if model is None else model.row_of(item_id)
        reason = self._why_not(model, row, budget.left_s())
        if model is None or reason:
            query = RecommendQuery("", num_items, exclude_item_ids=(item_id,))
            return self._fallback.rank(query, None, now_ms, (reason,)), None
        started_s = time.perf_counter()
        ranked = items_like(model, row, num_items, self._items.available(now_ms))
        took_s = time.perf_counter() - started_s
        self._cost.add(took_s)
        return ranked, took_s

    def _why_not(self, model: ServingModel | None, row: int, left_s: float) -> str:
        """Return why items cannot be compared, empty where they can."""
        if model is None:
            return NO_MODEL
        if row < 0:
            return UNKNOWN_ITEM
        if left_s >= self._cost.safe_s:
            return ""
        if left_s > 0.0:  # A request that came too late says nothing of what comparing takes.
            self._cost.fade()
        return POPULARITY_ONLY


def items_like(model: ServingModel, row: int, num_items: int, is_available: NDArray[np.bool_]) -> RankedList:
    """Return the available items most like the one in `row`.

    Args:
        model: holds vectors and co-visitation.
        row: of the model.
        num_items: how many.
        is_available: (rows of the item table,)
    """
    excluded = ~is_available[model.table_rows]
    excluded[row] = True
    scores = np.where(excluded, -np.inf, model.similarity(row))
    is_visited = model.counts.pairs.similar(row, model.num_items) > 0
    items = tuple(
        RankedItem(model.item_ids[r], float(scores[r]), "covisitation" if is_visited[r] else "tower")
        for r in best_places(scores, num_items)
    )
    return without_inputs(items, model.version)


def best_places(scores: NDArray[np.floating[Any]], size: int) -> NDArray[np.int64]:
    """Return the places of the best finite scores, best first, equal ones in their order."""
    order = np.argsort(-scores, kind="stable")[:size]
    return np.asarray(order[np.isfinite(scores[order])], dtype=np.int64)
