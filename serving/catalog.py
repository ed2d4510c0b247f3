"""What all lists of one moment share: counters summed up, rules placed, made anew every few ten milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.candidates import ListContext, list_context
from features.config import FeaturesConfig
from features.item_summary import ItemSummary
from features.item_table import ItemTable
from serving.budget import CostEstimate
from serving.placed_rules import PlacedRules, SurfaceRules
from serving.rules import RulesConfig
from serving.serving_model import ServingModel

_SHARE_OF_TIME = 0.05
"""Most of the process's time that goes into summaries: a pass over a million items must not come every 50 ms."""


_FIRST_S = 0.001
"""What making one is believed to take before it was measured."""
_OLDEST_MS = 30_000.0
"""However long a summary takes, its sums are no older."""
_OLDEST_LISTED_MS = 1000.0
"""Items that may no longer be shown are gone after this: to look at that alone takes a hundredth of a summary."""
_CLOCK_SET_BACK_MS = 60_000
"""A request that waited is a little older than the summary, which serves it as well; this far back a clock was set."""


class SummaryKeeper:
    """The newest summary of the item table.

    Args:
        items: the table.
        max_age_ms: how old it may be; older where making it takes too large a share of the time.
    """

    def __init__(self, items: ItemTable, max_age_ms: float) -> None:
        self._items = items
        self._max_age_ms = max_age_ms
        self._kept: ItemSummary | None = None
        self._listed_ms = 0
        """When it was last looked at which items may be shown."""
        self._cost = CostEstimate(_FIRST_S)
        self._cost_behind = CostEstimate(_FIRST_S)

    def at(self, now_ms: int, num_items: int = 0) -> ItemSummary:
        """Return the sums as of about now, over the first `num_items` of the table at least.

        Where they take long, summaries of the same sums differ in which items may be shown.
        """
        kept = self._kept
        if kept is None or not self._are_young(kept, now_ms) or kept.num_items < num_items:
            started_s = time.perf_counter()
            kept = self._kept = ItemSummary.of_table(self._items, now_ms)
            self._listed_ms = now_ms
            self._cost.add(time.perf_counter() - started_s)
        elif now_ms - self._listed_ms >= _OLDEST_LISTED_MS:
            is_listable = ItemSummary.listable(self._items, now_ms, only_seen=False)[: kept.num_items]
            kept = self._kept = replace(kept, is_listable=is_listable)
            self._listed_ms = now_ms
        return kept

    def _are_young(self, kept: ItemSummary, now_ms: int) -> bool:
        """Say whether sums are good enough: they may be the older the more of the time they take."""
        cost_ms = 1000.0 * (self._cost.mean_s + self._cost_behind.mean_s)
        max_age_ms = max(self._max_age_ms, min(cost_ms / _SHARE_OF_TIME, _OLDEST_MS))
        return -_CLOCK_SET_BACK_MS < now_ms - kept.now_ms < max_age_ms

    def took(self, seconds: float) -> None:
        """Say how long it took to make what hangs on a summary."""
        self._cost_behind.add(seconds)


@dataclass(frozen=True)
class Catalog:
    """One model's items as of one moment, with the rules that hold."""

    model: ServingModel
    context: ListContext
    rows_of_table: NDArray[np.int64]
    """(rows of the item table,) the model's row of each, -1 where it has none."""
    rules: PlacedRules
    features: FeaturesConfig
    """Sizes of the candidate sources, with places for pinned items."""

    def rules_of(self, surface: str) -> SurfaceRules:
        """Return the rules of a surface."""
        return self.rules.of(surface)


class CatalogKeeper:
    """The newest catalog of the live model.

    Args:
        features: sizes of the candidate sources.
        items: the item table.
        summaries: of the table.
        rules: tells the rules that hold now.
    """

    def __init__(
        self,
        features: FeaturesConfig,
        items: ItemTable,
        summaries: SummaryKeeper,
        rules: Callable[[], RulesConfig],
    ) -> None:
        self._features = features
        self._items = items
        self._summaries = summaries
        self._rules = rules
        self._kept: Catalog | None = None
        self._kept_rules: RulesConfig | None = None

    def at(self, model: ServingModel, now_ms: int) -> Catalog:
        """Return the catalog of a model as of about now."""
        rules, kept = self._rules(), self._kept
        is_kept = kept is not None and kept.model is model and self._kept_rules is rules
        summary = self._summaries.at(now_ms, 0 if is_kept else int(model.table_rows.max()) + 1)
        if kept is not None and is_kept and kept.context.summary.totals is summary.totals:
            if kept.context.summary is not summary:
                listable = summary.is_listable[model.table_rows]
                self._kept = kept = replace(kept, context=kept.context._replace(summary=summary, is_listable=listable))
        else:
            started_s = time.perf_counter()
            kept, self._kept_rules = self._made(model, summary, rules), rules
            self._kept = kept
            self._summaries.took(time.perf_counter() - started_s)
        return kept

    def _made(self, model: ServingModel, summary: ItemSummary, rules: RulesConfig) -> Catalog:
        rows_of_table = np.full(summary.num_items, -1, dtype=np.int64)
        rows_of_table[model.table_rows] = np.arange(model.num_items)
        context = list_context(summary, self._items, model.counts, model.table_rows, rows_of_table)
        placed = PlacedRules(rules, model, self._items)
        if not len(placed.pinned_rows):
            return Catalog(model, context, rows_of_table, placed, self._features)
        # Pinned items take the places that are kept for new ones, with more of them: they get inputs like all others.
        sizes = self._features.candidates
        sizes = sizes.model_copy(update={"fresh": sizes.fresh + len(placed.pinned_rows)})
        context = context._replace(fresh=np.concatenate([placed.pinned_rows, context.fresh]))
        return Catalog(model, context, rows_of_table, placed, self._features.model_copy(update={"candidates": sizes}))
