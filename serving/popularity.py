"""Ranks by decayed popularity: the step of the fallback ladder that needs neither model nor store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from features.item_summary import popularity_order
from features.item_table import ItemTable
from serving.answers import FALLBACK, RankedItem, RankedList, RecommendQuery, without_inputs


class PopularityRanker:
    """Ranks every item that this process knows.

    Args:
        items: the item table.
    """

    def __init__(self, items: ItemTable) -> None:
        self._items = items

    def rank(self, query: RecommendQuery, consumed: Iterable[str], now_ms: int, exclude: bool = True) -> RankedList:
        """Return the most popular items; with `exclude`, without consumed, unavailable, excluded and filtered ones."""
        table = self._items
        excluded = np.zeros(len(table), dtype=np.bool_)
        if exclude:
            excluded = ~table.available(now_ms)
            excluded |= lacks_category(table.categories, table.category_names, query.category_filter)
            gone = table.rows_of((*consumed, *query.exclude_item_ids))
            excluded[gone[gone >= 0]] = True
        if query.candidate_item_ids:
            given = table.rows_of(query.candidate_item_ids)
            is_given = np.zeros(len(table), dtype=np.bool_)
            is_given[given[given >= 0]] = True
            excluded |= ~is_given
        order = popularity_order(table, now_ms)
        rows = order[~excluded[order]][: query.num_items]
        # Scores only say the order here: the reciprocal rank, comparable with nothing else.
        items = tuple(RankedItem(table.item_ids[r], 1.0 / (1 + place), FALLBACK) for place, r in enumerate(rows))
        return without_inputs(items)


def lacks_category(categories: NDArray[np.int32], names: Sequence[str], wanted: Sequence[str]) -> NDArray[np.bool_]:
    """Say which items have none of the wanted categories; codes (N, M) -> (N,); no wish drops none."""
    if not wanted:
        return np.zeros(len(categories), dtype=np.bool_)
    codes = [code for code, name in enumerate(names) if name in set(wanted)]
    return np.asarray(~np.isin(categories, codes).any(axis=1))
