"""Candidate lists with their ranker inputs: one function for server, trainer and `evaluate`.

Items that follow the user's last ones, that share words with them, that are popular, new, or near in the tower's space
make a pool; the pre-ranker, linear and learnt, cuts it to the list. No pass over all items: the pool is what the
sources touched.
Letters: `N` items in the caller's row space, `m` items of the pool, `n` candidates, `H` half-lives, `L` history,
`F` ranker inputs, `P` pre-ranker inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.candidate_pool import Workspace
from features.config import CandidatesConfig, FeaturesConfig
from features.count_tables import CountTables
from features.declared_features import of_entity
from features.declared_values import declared_values
from features.item_lines import ItemLines, empty_lines, fill_facts, fill_lines
from features.item_summary import ItemSummary
from features.item_table import ItemTable
from features.list_assembly import Shared, Wanted, assemble_list
from features.model_inputs import CLIP, ItemArrays, UserArrays
from features.title_index import rarity_table
from features.tower_scores import TowerQuery, tower_scores
from features.user_state import UserState

_NOTHING = np.zeros(0, dtype=np.int64)

SOURCES = ("given", "covisitation", "content", "popularity", "category", "tower", "fresh")
"""How an item came into a list; one found by several is named after the first."""


@dataclass(frozen=True)
class CandidateList:
    """Candidates of one request with what the ranker sees of them."""

    rows: NDArray[np.int64]
    """(n,) in the caller's row space."""
    source_codes: NDArray[np.int64]
    """(n,) index into `SOURCES`."""
    inputs: NDArray[np.float32]
    """(n, F)"""
    user_inputs: NDArray[np.float32]
    """(U,)"""
    pool_rows: NDArray[np.int64]
    """(m,) what the list was cut from; empty for given rows."""
    pool_inputs: NDArray[np.float32]
    """(m, P); (0, P) where they were not to be kept."""

    @property
    def pre_ranker_scores(self) -> NDArray[np.float32]:
        """What cut the pool, less its mean: what the ranker starts from; (n,)."""
        return self.inputs[:, -1]

    @property
    def sources(self) -> tuple[str, ...]:
        """Where each came from."""
        return tuple(SOURCES[code] for code in self.source_codes.tolist())


@dataclass(frozen=True)
class UserRows:
    """A user's items in the caller's row space, -1 unknown."""

    history: NDArray[np.int64]
    """(L,) newest first."""
    consumed: NDArray[np.int64]
    """(any,) never listed."""
    shown: NDArray[np.int64]
    """(E,) as `UserState.shown_item_ids`."""


class ListContext(NamedTuple):
    """What every list of one moment shares, in the caller's row space."""

    summary: ItemSummary
    table: ItemTable
    table_rows: NDArray[np.int64]
    """(N,) the caller's rows in the table."""
    leaders: NDArray[np.int64]
    """Popular and fresh rows in the caller's space, -1 unknown."""
    category_leaders: NDArray[np.int64]
    fresh: NDArray[np.int64]
    is_listable: NDArray[np.bool_]
    """(N,)"""
    popularity: NDArray[np.float32]
    """(N,)"""
    lines: ItemLines
    """What the pre-ranker reads of each; categories and publication times as of now too."""
    rarities: NDArray[np.float64]
    """Of title tokens by how many titles hold them."""
    counts: CountTables


class LineInputs(NamedTuple):
    """What the lines of a context are made of: views, taken where the table changes, for any thread."""

    summary: ItemSummary
    table_rows: NDArray[np.int64]
    """(N,) the caller's rows in the table."""
    sums: NDArray[np.float64]
    decay: NDArray[np.float64]
    categories: NDArray[np.int32]
    published_ms: NDArray[np.int64]
    seen_ms: NDArray[np.int64]

    @classmethod
    def of(
        cls, summary: ItemSummary, table: ItemTable, counts: CountTables, table_rows: NDArray[np.int64]
    ) -> LineInputs:
        """Look at a table, `counts` being in the caller's rows."""
        sums, decay = table.counters.sums_and_decay(summary.now_ms)
        facts = table.categories, table.published_time_ms
        return cls(summary, table_rows, sums, decay, *facts, counts.seen_ms)

    def lines(self) -> ItemLines:
        """Write the lines; a pass over all items."""
        made, summary, table_rows = empty_lines(len(self.table_rows), len(self.decay)), self.summary, self.table_rows
        popularity, now_ms = summary.popularity[table_rows], summary.now_ms
        fill_facts(0, table_rows, self.categories, self.published_ms, len(self.decay), made)
        fill_lines(table_rows, self.sums, self.decay, summary.totals, self.seen_ms, popularity, now_ms, made)
        return made


def list_context(
    summary: ItemSummary,
    table: ItemTable,
    counts: CountTables,
    table_rows: NDArray[np.int64],
    rows_of_table: NDArray[np.int64] | None = None,
    lines: ItemLines | None = None,
) -> ListContext:
    """Express a summary in the caller's rows.

    Args:
        summary: of `table`.
        table: the items.
        counts: in the caller's rows.
        table_rows: (N,) the caller's rows in the table.
        rows_of_table: (rows of the table,) the table's rows in the caller's space, -1 unknown; None where both are one.
        lines: of `LineInputs`, of the first of the rows at least; None where they are yet to be made.
    """
    if lines is None:
        lines = LineInputs.of(summary, table, counts, table_rows).lines()
    return ListContext(
        summary,
        table,
        table_rows,
        *_leaders(summary, rows_of_table),
        summary.is_listable[table_rows],
        summary.popularity[table_rows],
        more_lines(lines, table, table_rows),
        rarity_table(len(table_rows)),
        counts,
    )


def _leaders(
    summary: ItemSummary, rows_of_table: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return popular rows, those of each category, and fresh ones, in the caller's rows."""

    def of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if rows_of_table is None:
            return rows
        return np.where(rows >= 0, rows_of_table[np.maximum(rows, 0)], -1)

    return of(summary.leaders), of(summary.category_leaders), of(summary.fresh)


def with_leaders(context: ListContext, rows_of_table: NDArray[np.int64]) -> ListContext:
    """Find the leaders of a summary in the caller's rows anew: some may have come since."""
    leaders, category_leaders, fresh = _leaders(context.summary, rows_of_table)
    return context._replace(leaders=leaders, category_leaders=category_leaders, fresh=fresh)


_OF_SUMMARY = ("totals", "leaders", "category_leaders", "fresh", "category_shares")
_OF_ITEMS = ("is_listable", "popularity")


def context_arrays(context: ListContext) -> dict[str, NDArray[Any]]:
    """Return a copy of all numbers of a context whose rows are those of its table, for a checkpoint."""
    arrays = {name: getattr(context.summary, name).copy() for name in _OF_SUMMARY}
    arrays |= {name: getattr(context, name).copy() for name in _OF_ITEMS}
    return arrays | {"lines": context.lines.codes.copy(), "now_ms": np.array([context.summary.now_ms])}


def context_from_arrays(
    arrays: Mapping[str, NDArray[Any]], table: ItemTable, counts: CountTables, table_rows: NDArray[np.int64]
) -> ListContext:
    """Make a context of what `context_arrays` returned; `table_rows` (N,) are as many as it had."""
    of_summary = {name: arrays[name].copy() for name in _OF_SUMMARY}
    is_listable, popularity = (arrays[name].copy() for name in _OF_ITEMS)
    lines = empty_lines(len(table_rows), len(table.counters.half_lives_ms))
    lines.codes[:] = arrays["lines"]
    size, now_ms = len(table_rows), int(arrays["now_ms"][0])
    summary = ItemSummary(now_ms, size, popularity=popularity, is_listable=is_listable, **of_summary)
    leaders = summary.leaders, summary.category_leaders, summary.fresh
    rarities = rarity_table(size)
    return ListContext(summary, table, table_rows, *leaders, is_listable, popularity, lines, rarities, counts)


def with_more_rows(context: ListContext, table_rows: NDArray[np.int64], is_listable: NDArray[np.bool_]) -> ListContext:
    """Give items that came since a row, without their counts; `is_listable` says of all whether they may be shown."""
    missing = len(table_rows) - len(context.table_rows)
    return context._replace(
        table_rows=table_rows,
        is_listable=is_listable,
        popularity=np.pad(context.popularity, (0, missing)),
        lines=more_lines(context.lines, context.table, table_rows),
        rarities=rarity_table(len(table_rows)),
    )


def more_lines(lines: ItemLines, table: ItemTable, table_rows: NDArray[np.int64]) -> ItemLines:
    """Return lines of all rows: those that were there, and behind them what the item table says of the others."""
    known, spans = len(lines.numbers), len(table.counters.half_lives_ms)
    if known == len(table_rows):
        return lines
    made = empty_lines(len(table_rows), spans)
    made.numbers[:known] = lines.numbers
    fill_facts(known, table_rows, table.categories, table.published_time_ms, spans, made)
    return made


def renew_facts(context: ListContext, row: int) -> None:
    """Look up again what the item table says of one of the caller's rows: its record has changed."""
    if row < len(context.table_rows):
        table = context.table
        spans, rows = len(table.counters.half_lives_ms), context.table_rows[: row + 1]
        fill_facts(row, rows, table.categories, table.published_time_ms, spans, context.lines)


def build_list(
    user: UserState,
    rows_of_user: UserRows,
    context: ListContext,
    now_ms: int,
    tower: TowerQuery | None,
    features: FeaturesConfig,
    pre_ranker: NDArray[np.float32],
    workspace: Workspace,
    given_rows: NDArray[np.int64] | None = None,
    is_allowed: NDArray[np.bool_] | None = None,
    keeps_pool: bool = True,
) -> CandidateList:
    """Retrieve candidates and compute their ranker inputs.

    Args:
        user: the user as of `now_ms`.
        rows_of_user: the user's items in the caller's rows.
        context: items as of about now.
        now_ms: the time of the request.
        tower: None where the model has none.
        features: sizes of the sources, declared features.
        pre_ranker: (P,) weights that cut the pool.
        workspace: scratch memory of this thread.
        given_rows: when set, exactly these are the candidates.
        is_allowed: (N,) further limits (categories), None for none.
        keeps_pool: whether the pre-ranker's inputs of the whole pool are wanted; only who learns needs them.
    """
    num_items = len(context.table_rows)
    workspace.reserve(num_items)
    num_declared = model_inputs.num_declared_inputs(features)
    shared = _shared(context, is_allowed)
    found = assemble_list(
        shared,
        _item_arrays(context, now_ms),
        _user_arrays(user, rows_of_user, context.table),
        rows_of_user.consumed,
        tower_scores(tower, given_rows, shared.is_listable, features.candidates.tower),
        _wanted(features.candidates, given_rows, num_declared, keeps_pool, now_ms),
        pre_ranker,
        workspace.scratch(),
    )
    if num_declared:
        declared = _declared_inputs(user, context, found.rows, now_ms, features)
        found.inputs[:, -1 - num_declared : -1] = np.clip(declared, -CLIP, CLIP)
    rows = found.rows
    return CandidateList(rows, found.source_codes, found.inputs, found.user_inputs, found.pool_rows, found.pool_inputs)


def _shared(context: ListContext, is_allowed: NDArray[np.bool_] | None) -> Shared:
    counts = context.counts
    return Shared(
        context.table_rows,
        context.is_listable if is_allowed is None else context.is_listable & is_allowed,
        context.popularity,
        context.lines,
        context.summary.category_shares,
        context.leaders,
        context.category_leaders,
        context.fresh,
        counts.pairs.pairs,
        counts.successors.pairs,
        counts.titles.titles,
        context.rarities,
        counts.seen_ms,
    )


def _wanted(
    config: CandidatesConfig, given: NDArray[np.int64] | None, num_declared: int, keeps_pool: bool, now_ms: int
) -> Wanted:
    return Wanted(
        _NOTHING if given is None else given,
        given is not None,
        config.total,
        config.categories,
        config.tower,
        config.fresh,
        num_declared,
        keeps_pool,
        now_ms,
    )


def _item_arrays(context: ListContext, now_ms: int) -> ItemArrays:
    table = context.table
    sums, decay = table.counters.sums_and_decay(now_ms)
    exposure, exposure_decay = table.exposure.sums_and_decay(now_ms)
    totals = context.summary.totals
    return ItemArrays(sums, decay, totals, exposure, exposure_decay, table.categories, table.published_time_ms)


def _user_arrays(user: UserState, rows: UserRows, table: ItemTable) -> UserArrays:
    codes = table.category_codes(user.category_names)
    known = codes >= 0
    return UserArrays(
        user.counts,
        rows.history,
        user.history_times_ms,
        codes[known],
        user.category_counts[known],
        rows.shown,
        user.shown_times_ms,
    )


def _declared_inputs(
    user: UserState, context: ListContext, rows: NDArray[np.int64], now_ms: int, features: FeaturesConfig
) -> NDArray[np.float64]:
    """Return the declared features of the items, the user and all together, (n, V)."""
    table = context.table
    raw = {
        "item": table.declared.rows(len(table))[context.table_rows[rows]],
        "user": user.declared[None],
        "global": table.global_declared.rows(1),
    }
    values = [declared_values(of_entity(features.declared, e), numbers, now_ms) for e, numbers in raw.items()]
    return np.concatenate([np.broadcast_to(one, (len(rows), one.shape[1])) for one in values], axis=1)
