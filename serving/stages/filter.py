"""Stage 2, filter: what must not be shown, as rows and masks that the candidate sources look at.

Consumed and excluded items, blocked ones and those outside the wanted categories; unavailable and expired items are
out of every list of the moment already (`ItemSummary.is_listable`). Letters: `N` items of the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.item_table import ItemTable
from features.user_state import UserState
from serving.answers import RecommendQuery
from serving.catalog import Catalog
from serving.serving_model import ServingModel

_NO_ROWS: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be shown."""

    consumed: NDArray[np.int64]
    """(any,) rows that must not."""
    is_allowed: NDArray[np.bool_] | None
    """(N,) which may, by category and rules; None for all."""
    given: NDArray[np.int64] | None
    """Where the caller named candidates, those of them that may be shown."""

    def is_shown(self, rows: NDArray[np.int64], catalog: Catalog) -> NDArray[np.bool_]:
        """Say which of these rows may be shown, (len(rows),)."""
        allowed = catalog.context.is_listable[rows] & ~np.isin(rows, self.consumed)
        if self.is_allowed is not None:
            allowed &= self.is_allowed[rows]
        return allowed if self.given is None else allowed & np.isin(rows, self.given)

    def num_shown(self, catalog: Catalog) -> int:
        """Count what may be shown; a pass over all items where the caller named none."""
        if self.given is not None:
            return len(self.given)
        is_shown = catalog.context.is_listable.copy()
        is_shown[self.consumed] = False
        if self.is_allowed is not None:
            is_shown &= self.is_allowed
        return int(np.count_nonzero(is_shown))


def limits_of(catalog: Catalog, table: ItemTable, query: RecommendQuery, user: UserState) -> Limits:
    """Return what a list of `Recommend` may hold."""
    model, is_allowed = catalog.model, catalog.rules_of(query.surface).is_shown
    consumed = model.known_rows((*user.consumed, *query.exclude_item_ids))
    if query.category_filter:
        is_wanted = ~lacks_category(table.categories, table.category_codes(query.category_filter))[model.table_rows]
        is_allowed = is_wanted if is_allowed is None else is_allowed & is_wanted
    limits = Limits(consumed, is_allowed, None)
    if not query.candidate_item_ids:
        return limits
    given = _distinct_rows(model, query.candidate_item_ids)
    return Limits(consumed, is_allowed, given[limits.is_shown(given, catalog)])


def everything_given(model: ServingModel, query: RecommendQuery) -> Limits:
    """Return the limits of `Rank`: exactly the given items, consumed ones too."""
    return Limits(_NO_ROWS, None, _distinct_rows(model, query.candidate_item_ids))


def lacks_category(categories: NDArray[np.int32], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which items have none of the wanted category codes; (N, M), (any,) -> (N,)."""
    return np.asarray(~np.isin(categories, wanted[wanted >= 0]).any(axis=1))


def _distinct_rows(model: ServingModel, item_ids: Sequence[str]) -> NDArray[np.int64]:
    return model.known_rows(tuple(dict.fromkeys(item_ids)))
