"""Answers without a ranking: decayed popularity per category, then of all items, then a configured list.

The lower steps of the ladder model, last good version on disk (`serving/model_store.py`), popularity, list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from features.item_summary import CATEGORY_LEADERS, ItemSummary
from features.item_table import ItemTable
from features.user_state import UserState
from serving.answers import CONFIGURED, FALLBACK, RankedItem, RankedList, RecommendQuery, without_inputs
from serving.catalog import SummaryKeeper
from serving.rules import RulesConfig

_FAVOURITES = 3
"""Categories of the user whose popular items come first."""


class FallbackLadder:
    """Ranks whatever this process knows.

    Args:
        items: the item table.
        summaries: of the table.
        configured: item ids for when nothing else is left.
        rules: tells the rules that hold now; blocked items are blocked here too.
    """

    def __init__(
        self,
        items: ItemTable,
        summaries: SummaryKeeper,
        configured: Sequence[str] = (),
        rules: Callable[[], RulesConfig] = RulesConfig,
    ) -> None:
        self._items = items
        self._summaries = summaries
        self._configured = tuple(configured)
        self._rules = rules

    def rank(
        self, query: RecommendQuery, user: UserState | None, now_ms: int, reasons: tuple[str, ...] = ()
    ) -> RankedList:
        """Return the first items of the ladder that may be shown to this user."""
        is_shown = self._shown(query, user, now_ms)
        wanted = self._rows(query, user, self._summaries.at(now_ms))
        rows = _first(wanted, is_shown, query.num_items)
        items = self._ranked(rows)
        if not query.candidate_item_ids and not query.category_filter and len(items) < query.num_items:
            items += self._from_list(query, user, is_shown, rows, query.num_items - len(rows))
        return without_inputs(items, reasons=reasons)

    def order(self, item_ids: Sequence[str], now_ms: int) -> RankedList:
        """Return exactly these items, the popular ones first and those that nothing is known of left out."""
        popularity = self._summaries.at(now_ms, len(self._items)).popularity
        rows = self._items.rows_of(tuple(dict.fromkeys(item_ids)))
        known = rows[rows >= 0]
        return without_inputs(self._ranked(known[np.argsort(-popularity[known], kind="stable")].tolist()))

    def _ranked(self, rows: Sequence[int]) -> tuple[RankedItem, ...]:
        # Scores only say the order here: the reciprocal rank, comparable with nothing else.
        return tuple(RankedItem(self._items.item_ids[r], 1.0 / (1 + place), FALLBACK) for place, r in enumerate(rows))

    def _rows(self, query: RecommendQuery, user: UserState | None, summary: ItemSummary) -> Iterator[int]:
        """Yield rows as the ladder goes down; some more than once."""
        if query.candidate_item_ids:
            given = self._items.rows_of(query.candidate_item_ids)
            given = given[(given >= 0) & (given < summary.num_items)]
            yield from given[np.argsort(-summary.popularity[given], kind="stable")].tolist()
            return
        favourites = query.category_filter or ([] if user is None else user.category_names[:_FAVOURITES])
        yield from _by_place(summary.category_leaders, self._items.category_codes(favourites))
        yield from summary.leaders.tolist()
        yield from np.argsort(-summary.popularity, kind="stable").tolist()

    def _shown(self, query: RecommendQuery, user: UserState | None, now_ms: int) -> NDArray[np.bool_]:
        """Say which items may be shown, (rows of the table,)."""
        table = self._items
        is_shown = table.available(now_ms).copy()
        gone = table.rows_of((*(() if user is None else user.consumed), *query.exclude_item_ids))
        is_shown[gone[gone >= 0]] = False
        if query.category_filter:
            is_shown &= self._has_any(query.category_filter)
        for rule in self._rules().of(query.surface):
            if rule.block:
                is_shown &= ~self._has_any(rule.categories)
                blocked = table.rows_of(rule.items)
                is_shown[blocked[blocked >= 0]] = False
        return is_shown

    def _has_any(self, names: Sequence[str]) -> NDArray[np.bool_]:
        codes = self._items.category_codes(names)
        return np.asarray(np.isin(self._items.categories, codes[codes >= 0]).any(axis=1))

    def _from_list(
        self,
        query: RecommendQuery,
        user: UserState | None,
        is_shown: NDArray[np.bool_],
        rows: Iterable[int],
        size: int,
    ) -> tuple[RankedItem, ...]:
        """Return items of the configured list that are not there already and that nothing forbids."""
        blocked = {item for rule in self._rules().of(query.surface) if rule.block for item in rule.items}
        gone = blocked | {*query.exclude_item_ids, *(() if user is None else user.consumed)}
        gone |= {self._items.item_ids[row] for row in rows}
        chosen = []
        for item_id in dict.fromkeys(self._configured):
            row = self._items.row_of(item_id)
            if item_id not in gone and (row < 0 or is_shown[row]):
                chosen.append(RankedItem(item_id, 0.0, CONFIGURED))
        return tuple(chosen[:size])


def _by_place(leaders: NDArray[np.int64], codes: NDArray[np.int64]) -> Iterator[int]:
    """Yield the leaders of categories, the first of each before the second of any; unknown codes are skipped."""
    known = codes[(codes >= 0) & (codes < len(leaders))]
    for place in range(CATEGORY_LEADERS if len(known) else 0):
        yield from (row for row in leaders[known, place].tolist() if row >= 0)


def _first(rows: Iterator[int], is_shown: NDArray[np.bool_], size: int) -> list[int]:
    """Return the first different rows that may be shown."""
    chosen: dict[int, None] = {}
    for row in rows:
        if len(chosen) == size:
            break
        if row < len(is_shown) and is_shown[row]:
            chosen[row] = None
    return list(chosen)
