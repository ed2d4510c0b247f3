"""What lists of one moment share: sums over all items, the most popular and the newest ones.

Computed once a micro-batch or every few ten milliseconds, not for every list: a pass over all items.
Letters: `N` items of the table, `H` half-lives, `C` categories, `M` leaders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled
from features.item_table import ItemTable

BACKOFF_EVENTS = 20.0
"""Strength of the next longer half-life in the share of a short one, in positives: few of them say little."""
LEADERS = 400
"""Most popular items that every list looks at."""
CATEGORY_LEADERS = 40
"""Most popular items of a category, of the `_RANKED` most popular of all."""
_RANKED = 4000
FRESH = 64
"""Newest items by publication time that lists may draw from."""


class SummaryInputs(NamedTuple):
    """What a summary is made of: views, taken where the table changes, that may be summed up in a thread.

    Rows may change under it, each by itself; which rows there are, and what decays them, stays.
    """

    now_ms: int
    sums: NDArray[np.float64]
    """(N, H, 3) not decayed."""
    decay: NDArray[np.float64]
    """(H,)"""
    is_listable: NDArray[np.bool_]
    """(N,)"""
    categories: NDArray[np.int32]
    """(N, any)"""
    num_categories: int
    published_ms: NDArray[np.int64]
    """(N,)"""

    @classmethod
    def of_table(cls, table: ItemTable, now_ms: int, only_seen: bool = False) -> SummaryInputs:
        """Look at a table as of now."""
        sums, decay = table.counters.sums_and_decay(now_ms)
        listable = ItemSummary.listable(table, now_ms, only_seen)
        names, published_ms = table.category_names, table.published_time_ms
        return cls(now_ms, sums, decay, listable, table.categories, len(names), published_ms)


@dataclass(frozen=True)
class ItemSummary:
    """Sums over an item table as of one moment."""

    now_ms: int
    num_items: int
    totals: NDArray[np.float64]
    """(H, 3) events, positives and negatives of all items."""
    popularity: NDArray[np.float32]
    """(N,) share of the positives, short half-lives backed off to longer ones, averaged."""
    leaders: NDArray[np.int64]
    """(M,) most popular listable rows, best first."""
    category_leaders: NDArray[np.int64]
    """(C, CATEGORY_LEADERS) most popular listable rows of each category, -1 where it has no more."""
    fresh: NDArray[np.int64]
    """(<= FRESH,) newest listable rows by publication time, newest first."""
    category_shares: NDArray[np.float64]
    """(C, 2) share of positives and of events that fall on each category, longest half-life."""
    is_listable: NDArray[np.bool_]
    """(N,) available and not expired; with `only_seen`, also with an event."""

    @staticmethod
    def listable(table: ItemTable, now_ms: int, only_seen: bool) -> NDArray[np.bool_]:
        """Say which items may be shown, (N,): available, not expired, with `only_seen` also touched before."""
        available = table.available(now_ms)
        return available & (table.counters.sums_and_decay(now_ms)[0][:, -1, 0] > 0.0) if only_seen else available

    @classmethod
    def of_table(cls, table: ItemTable, now_ms: int, only_seen: bool = False) -> ItemSummary:
        """Summarise a table as of now; `only_seen` takes items without an event out of every list."""
        return cls.of(SummaryInputs.of_table(table, now_ms, only_seen))

    @classmethod
    def of(cls, inputs: SummaryInputs) -> ItemSummary:
        """Sum up; a pass over all items, in any thread."""
        now_ms, sums, decay, listable, categories, num_categories, published = inputs
        size = len(sums)
        totals = np.asarray(sums.sum(axis=0) * decay[:, None])
        popularity = np.empty(size, dtype=np.float32)
        _popularity_of_all(sums, decay, totals, popularity)
        shares = np.zeros((num_categories, 2))
        _category_sums(sums, categories, shares)
        ranked = best_rows(np.where(listable, popularity, -np.inf), _RANKED)
        category_leaders = np.full((len(shares), CATEGORY_LEADERS), -1, dtype=np.int64)
        _leaders_by_category(ranked, categories, category_leaders)
        return cls(
            now_ms=now_ms,
            num_items=size,
            totals=totals,
            popularity=popularity,
            leaders=ranked[:LEADERS],
            category_leaders=category_leaders,
            fresh=best_rows(np.where(listable & (published != 0), published.astype(np.float64), -np.inf), FRESH),
            category_shares=shares / np.maximum(shares.sum(axis=0), 1e-9),
            is_listable=listable,
        )

    def with_more_items(self, table: ItemTable, now_ms: int) -> ItemSummary:
        """Give items that came since a row, without their counts, and look anew at which may be shown."""
        popularity = np.pad(self.popularity, (0, len(table) - self.num_items))
        listable = self.listable(table, now_ms, only_seen=False)
        return replace(self, num_items=len(table), popularity=popularity, is_listable=listable)


def popularity_order(table: ItemTable, now_ms: int) -> NDArray[np.int64]:
    """Return all item rows by popularity, best first: the fallback ranking; (N,)."""
    return np.argsort(-ItemSummary.of_table(table, now_ms).popularity, kind="stable")


def best_rows(values: NDArray[np.floating[Any]], size: int) -> NDArray[np.int64]:
    """Return the rows of the `size` largest finite values, largest first, equal ones in their order."""
    if size < len(values):
        bound = np.partition(values, len(values) - size)[len(values) - size]
        rows = np.flatnonzero(values >= bound)
    else:
        rows = np.arange(len(values))
    rows = rows[np.isfinite(values[rows])]
    return np.asarray(rows[np.argsort(-values[rows], kind="stable")][:size], dtype=np.int64)


@compiled
def most_popular(popularity: NDArray[np.float32], is_listable: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """Return the `size` most popular listable rows of all items, most popular first, equal ones in their order."""
    rows = np.flatnonzero(is_listable)
    if 0 < size < len(rows):
        values = popularity[rows]
        rows = rows[values >= np.partition(values, len(rows) - size)[len(rows) - size]]
    return rows[np.argsort(-popularity[rows], kind="mergesort")][:size]


@compiled
def popularity_of(counts: NDArray[np.float64], decay: NDArray[np.float64], totals: NDArray[np.float64]) -> float:
    """Return one item's share of the positives; counts (H, 3) not yet decayed, decay (H,), totals (H, 3) decayed."""
    share, mean = 0.0, 0.0
    for span in range(len(decay) - 1, -1, -1):
        positives = counts[span, 1] * decay[span]
        if span == len(decay) - 1:
            share = positives / max(totals[span, 1], 1.0)
        else:
            share = (positives + BACKOFF_EVENTS * share) / (totals[span, 1] + BACKOFF_EVENTS)
        mean += share
    return mean / len(decay)


@compiled
def _popularity_of_all(
    sums: NDArray[np.float64],
    decay: NDArray[np.float64],
    totals: NDArray[np.float64],
    popularity: NDArray[np.float32],
) -> None:
    for row in range(len(sums)):
        popularity[row] = popularity_of(sums[row], decay, totals)


@compiled
def _category_sums(
    sums: NDArray[np.float64], categories: NDArray[np.int32], category_sums: NDArray[np.float64]
) -> None:
    for row in range(len(sums)):
        for place in range(categories.shape[1]):
            code = categories[row, place]
            if code < 0 or code >= len(category_sums):  # Later: the table may grow meanwhile.
                break
            category_sums[code, 0] += sums[row, -1, 1]
            category_sums[code, 1] += sums[row, -1, 0]


@compiled
def _leaders_by_category(ranked: NDArray[np.int64], categories: NDArray[np.int32], leaders: NDArray[np.int64]) -> None:
    sizes = np.zeros(len(leaders), dtype=np.int64)
    for row in ranked:
        for place in range(categories.shape[1]):
            code = categories[row, place]
            if code < 0 or code >= len(leaders):
                break
            if sizes[code] < leaders.shape[1]:
                leaders[code, sizes[code]] = row
                sizes[code] += 1
