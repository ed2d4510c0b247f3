"""Items like a given one, by vector and co-visitation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.answers import RankedItem, RankedList, without_inputs
from serving.serving_model import ServingModel


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
