"""What all lists of one moment share: counters summed up, rules placed, made anew every few ten milliseconds.

A small catalogue is summed up when a request needs it. To do so with a large one would stop the event loop, so a thread
does it, requests go on with the sums of before, and a new version takes over what was made for the last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.candidates import LineInputs, ListContext, list_context, with_leaders, with_more_rows
from features.config import FeaturesConfig
from features.count_tables import CountTables
from features.item_summary import ItemSummary, SummaryInputs
from features.item_table import ItemTable
from serving.budget import CostEstimate
from serving.made_beside import MadeBeside
from serving.placed_rules import PlacedRules, SurfaceRules
from serving.rules import RulesConfig
from serving.serving_model import ServingModel

_SHARE_OF_TIME = 0.05
"""Most of the process's time that goes into summaries: a pass over a million items must not come every 50 ms."""


_AT_ONCE = 50_000
"""Items whose sums are made by the request that needs them; more take more than ten milliseconds."""
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
        self._beside: MadeBeside[tuple[ItemSummary, float]] = MadeBeside()
        self._listed_ms = 0
        """When it was last looked at which items may be shown."""
        self._cost = CostEstimate(_FIRST_S)
        self._cost_behind = CostEstimate(_FIRST_S)

    def at(self, now_ms: int, num_items: int = 0) -> ItemSummary:
        """Return the sums as of about now, over the first `num_items` of the table at least.

        Where they take long, summaries of the same sums differ in which items may be shown.
        """
        made = self._beside.take()
        if made is not None:
            self._take_over(*made)
            self._listed_ms = 0  # Something may have been removed meanwhile.
        kept = self._kept
        if kept is None or not is_large(self._items):
            if kept is None or not self._are_young(kept, now_ms) or kept.num_items < num_items:
                kept = self._take_over(*_summed_up(SummaryInputs.of_table(self._items, now_ms)))
        elif self._beside.is_free and not self._are_young(kept, now_ms):
            self._beside.begin(partial(_summed_up, SummaryInputs.of_table(self._items, now_ms)))
        if kept.num_items < num_items:
            kept = self._kept = kept.with_more_items(self._items, now_ms)
            self._listed_ms = now_ms
        elif now_ms - self._listed_ms >= _OLDEST_LISTED_MS:
            is_listable = ItemSummary.listable(self._items, now_ms, only_seen=False)[: kept.num_items]
            kept = self._kept = replace(kept, is_listable=is_listable)
            self._listed_ms = now_ms
        return kept

    def _take_over(self, summary: ItemSummary, took_s: float) -> ItemSummary:
        self._kept, self._listed_ms = summary, summary.now_ms
        self._cost.add(took_s)
        return summary

    def _are_young(self, kept: ItemSummary, now_ms: int) -> bool:
        """Say whether sums are good enough: they may be the older the more of the time they take."""
        cost_ms = 1000.0 * (self._cost.mean_s + self._cost_behind.mean_s)
        max_age_ms = max(self._max_age_ms, min(cost_ms / _SHARE_OF_TIME, _OLDEST_MS))
        return -_CLOCK_SET_BACK_MS < now_ms - kept.now_ms < max_age_ms

    def took(self, seconds: float) -> None:
        """Say how long it took to make what hangs on a summary."""
        self._cost_behind.add(seconds)


def is_large(items: ItemTable) -> bool:
    """Say whether passes over all items are made beside the event loop."""
    return len(items) > _AT_ONCE


def _summed_up(inputs: SummaryInputs) -> tuple[ItemSummary, float]:
    """Return a summary and the seconds of CPU that it took."""
    started_s = time.thread_time()
    return ItemSummary.of(inputs), time.thread_time() - started_s


class _Placed(NamedTuple):
    """A summary in a model's rows."""

    context: ListContext
    rows_of_table: NDArray[np.int64]
    """As of `Catalog`."""

    @classmethod
    def of(cls, inputs: LineInputs, table: ItemTable, counts: CountTables) -> _Placed:
        """Express a summary in a model's rows: passes over all items, in any thread."""
        summary, table_rows = inputs.summary, inputs.table_rows
        rows_of_table = np.full(summary.num_items, -1, dtype=np.int64)
        rows_of_table[table_rows] = np.arange(len(table_rows))
        return cls(list_context(summary, table, counts, table_rows, rows_of_table, inputs.lines()), rows_of_table)

    def followed_by(self, model: ServingModel, summary: ItemSummary) -> _Placed:
        """Return the same for a model with these rows and none or more behind them.

        Args:
            model: the later one.
            summary: says what may be shown, and which rows the table has.
        """
        context, rows_of_table, known = self.context, self.rows_of_table, len(self.context.table_rows)
        is_listable = context.is_listable
        if context.summary.is_listable is not summary.is_listable or model.num_items > known:
            is_listable = summary.is_listable[model.table_rows]
        missing = summary.num_items - len(rows_of_table)
        if model.num_items > known or missing:
            rows_of_table = np.pad(rows_of_table, (0, missing), constant_values=-1)
            rows_of_table[model.table_rows[known:]] = np.arange(known, model.num_items)
            context = with_leaders(with_more_rows(context, model.table_rows, is_listable), rows_of_table)
        sums = context.summary
        if (missing := summary.num_items - sums.num_items) > 0:
            sums = replace(sums, num_items=summary.num_items, popularity=np.pad(sums.popularity, (0, missing)))
        sums = replace(sums, is_listable=summary.is_listable)
        context = context._replace(summary=sums, is_listable=is_listable, counts=model.counts)
        return _Placed(context, rows_of_table)


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
        self._placed: _Placed | None = None
        """What is kept, without rules."""
        self._listed_as: ItemSummary | None = None
        """That says what may be shown."""
        self._beside: MadeBeside[tuple[_Placed, float]] = MadeBeside()

    def at(self, model: ServingModel, now_ms: int) -> Catalog:
        """Return the catalog of a model as of about now."""
        rules, kept, before = self._rules(), self._kept, self._placed
        is_kept = kept is not None and kept.model is model and self._kept_rules is rules
        summary = self._summaries.at(now_ms, self._num_items(model, is_kept))
        if kept is not None and is_kept and kept.context.summary.totals is summary.totals:
            self._kept = kept = self._listed(kept, summary)
        elif kept is not None and before is not None and is_large(self._items) and _begins_with(before, model):
            self._kept = kept = self._followed(kept, before, model, summary, rules)
        else:
            started_s = time.perf_counter()
            inputs = LineInputs.of(summary, self._items, model.counts, model.table_rows)
            placed = self._placed = _Placed.of(inputs, self._items, model.counts)
            self._kept = kept = self._with_rules(placed, model, rules)
            self._summaries.took(time.perf_counter() - started_s)
        self._kept_rules, self._listed_as = rules, summary
        return kept

    def _num_items(self, model: ServingModel, is_kept: bool) -> int:
        """Return how many rows of the table a summary must have."""
        before = 0 if self._kept is None else len(self._kept.rows_of_table)
        return before if is_kept else max(before, int(model.table_rows.max()) + 1)

    def _listed(self, kept: Catalog, summary: ItemSummary) -> Catalog:
        """Return the same, with what may be shown as a summary says."""
        if summary is self._listed_as:
            return kept
        listable = summary.is_listable[kept.model.table_rows]
        sums = replace(kept.context.summary, is_listable=summary.is_listable)
        return replace(kept, context=kept.context._replace(summary=sums, is_listable=listable))

    def _followed(
        self, kept: Catalog, before: _Placed, model: ServingModel, summary: ItemSummary, rules: RulesConfig
    ) -> Catalog:
        """Return a large catalog with the lines of the last one, as new ones take long: a thread makes them.

        Until they are there, ages and shares are those of the sums before; what the ranker sees is as of now.
        """
        made = self._beside.take()
        if made is not None and _begins_with(made[0], model):
            before, took_s = made
            self._summaries.took(took_s)
        elif before.context.summary.totals is not summary.totals and self._beside.is_free:
            inputs = LineInputs.of(summary, self._items, model.counts, model.table_rows)
            self._beside.begin(partial(_placed_of, inputs, self._items, model.counts))
        if before is self._placed and kept.model is model and self._kept_rules is rules:
            return self._listed(kept, summary)
        self._placed = before.followed_by(model, summary)
        return self._with_rules(self._placed, model, rules)

    def _with_rules(self, made: _Placed, model: ServingModel, rules: RulesConfig) -> Catalog:
        context, rows_of_table = made
        placed = PlacedRules(rules, model, self._items)
        if not len(placed.pinned_rows):
            return Catalog(model, context, rows_of_table, placed, self._features)
        # Pinned items take the places that are kept for new ones, with more of them: they get inputs like all others.
        sizes = self._features.candidates
        sizes = sizes.model_copy(update={"fresh": sizes.fresh + len(placed.pinned_rows)})
        context = context._replace(fresh=np.concatenate([placed.pinned_rows, context.fresh]))
        return Catalog(model, context, rows_of_table, placed, self._features.model_copy(update={"candidates": sizes}))


def _begins_with(before: _Placed, model: ServingModel) -> bool:
    """Say whether a version has the items that were placed in the same rows, and none or more behind them."""
    rows, known = model.table_rows, before.context.table_rows
    if len(known) > len(rows):
        return False
    # Rows of one chain lie in one array, to which items are only ever added.
    is_same_memory = rows.base is not None and rows.base is known.base and rows.ctypes.data == known.ctypes.data
    return is_same_memory or np.array_equal(rows[: len(known)], known)


def _placed_of(inputs: LineInputs, table: ItemTable, counts: CountTables) -> tuple[_Placed, float]:
    """Return a summary in a model's rows, and the seconds of CPU that it took."""
    started_s = time.thread_time()
    return _Placed.of(inputs, table, counts), time.thread_time() - started_s
