"""One list in one compiled pass: sources make a pool, the pre-ranker cuts it, the ranker's inputs are filled.

Letters: `N` items in the caller's row space, `m` items of the pool, `n` candidates, `F` ranker inputs, `U` user inputs,
`P` pre-ranker inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.candidate_pool import (
    FIRST_SOURCE,
    Scratch,
    clear_scratch,
    cut_pool,
    has_titles,
    listable_pool,
    touch_neighbours,
    touch_rows,
)
from features.co_visitation import Pairs
from features.compiled import compiled
from features.count_tables import HISTORY_WINDOW
from features.item_lines import ItemLines
from features.item_summary import most_popular
from features.list_inputs import Pooled, fill_ranker_inputs
from features.model_inputs import ItemArrays, UserArrays
from features.pool_inputs import PoolSources, pool_scores
from features.title_index import Titles
from features.tower_scores import TowerScores, nearest_rows


class Shared(NamedTuple):
    """What every list of one moment is drawn from, in the caller's row space."""

    table_rows: NDArray[np.int64]
    """(N,) the caller's rows in the item table."""
    is_listable: NDArray[np.bool_]
    """(N,)"""
    popularity: NDArray[np.float32]
    """(N,)"""
    lines: ItemLines
    category_shares: NDArray[np.float64]
    """(C, 2)"""
    leaders: NDArray[np.int64]
    """Popular rows, -1 unknown."""
    category_leaders: NDArray[np.int64]
    """(C, any) popular rows of each category, -1 unknown."""
    fresh: NDArray[np.int64]
    """Newest rows, newest first."""
    pairs: Pairs
    successors: Pairs
    titles: Titles
    rarities: NDArray[np.float64]
    """Of title tokens by their count, see `features.title_index.rarity_table`."""
    seen_ms: NDArray[np.int64]
    """(<= N, 2)"""


class Wanted(NamedTuple):
    """What is asked for."""

    given: NDArray[np.int64]
    """(n,) the candidates themselves, where `is_given`."""
    is_given: bool
    total: int
    """Else a list of this length, from ..."""
    categories: int
    """... so many favourite categories of the user, ..."""
    tower: int
    """... so many of the nearest by the tower, ..."""
    fresh: int
    """... and places for the newest."""
    num_declared: int
    """Inputs that are left 0 for the caller, before the last one."""
    keeps_pool: bool
    """Whether the pre-ranker's inputs of the whole pool are wanted, by who learns from them."""
    now_ms: int


class Assembled(NamedTuple):
    """A list; the fields are those of `CandidateList`."""

    rows: NDArray[np.int64]
    source_codes: NDArray[np.int64]
    inputs: NDArray[np.float32]
    user_inputs: NDArray[np.float32]
    pool_rows: NDArray[np.int64]
    pool_inputs: NDArray[np.float32]
    """Empty where the pool was not to be kept."""


@compiled
def assemble_list(
    shared: Shared,
    items: ItemArrays,
    user: UserArrays,
    consumed: NDArray[np.int64],
    tower: TowerScores,
    wanted: Wanted,
    pre_ranker: NDArray[np.float32],
    scratch: Scratch,
) -> Assembled:
    """Return candidates with their inputs, and the pool they were cut from; the scratch memory is left all zeros.

    Args:
        shared: of the moment.
        items: of the moment.
        user: as of now.
        consumed: rows that are never listed.
        tower: the user's scores of the items, of the given ones where they are given.
        wanted: sizes.
        pre_ranker: (P,) weights that cut the pool.
        scratch: room for N rows.
    """
    num_items = len(shared.table_rows)
    history = user.history_rows[:HISTORY_WINDOW]
    touched = touch_neighbours(
        history, consumed, shared.pairs, shared.successors, shared.titles, num_items, shared.rarities, scratch
    )
    rows = wanted.given
    if not wanted.is_given:
        rows, touched = _pool(shared, user, len(consumed), tower, wanted, scratch, touched)
    sources = PoolSources(
        shared.table_rows,
        items.categories,
        shared.lines,
        len(items.decay),
        model_inputs.category_leans(user, shared.category_shares),
        model_inputs.mean_published_ms(user, shared.table_rows, items),
        shared.titles,
        has_titles(history, shared.titles),
        shared.rarities,
        tower,
        wanted.is_given,
    )
    keeps_inputs = wanted.is_given or wanted.keeps_pool
    scores, pool_inputs, similarity = pool_scores(rows, sources, pre_ranker, scratch, keeps_inputs)
    if wanted.is_given:
        kept, found_by = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    else:
        newest = shared.fresh[: 2 * wanted.fresh]
        kept, found_by = cut_pool(rows, scores, wanted.total, newest, wanted.fresh, scratch)
    if keeps_inputs:
        pooled = Pooled(pool_inputs[kept], similarity[kept], scores[kept])
    else:
        kept_scores, kept_inputs, kept_similarity = pool_scores(rows[kept], sources, pre_ranker, scratch, True)
        pooled = Pooled(kept_inputs, kept_similarity, kept_scores)
    spans = len(items.decay)
    num_inputs = model_inputs.num_fixed_inputs(spans) + wanted.num_declared + 1
    inputs = np.zeros((len(kept), num_inputs), dtype=np.float32)
    user_inputs = np.zeros(spans + model_inputs.NUM_TASTES, dtype=np.float32)
    fill_ranker_inputs(
        rows[kept], pooled, shared.table_rows, items, user, shared.seen_ms, wanted.now_ms, scratch, inputs, user_inputs
    )
    clear_scratch(scratch, touched, history, shared.titles)
    return Assembled(rows[kept], found_by, inputs, user_inputs, rows, pool_inputs)


@compiled
def _pool(
    shared: Shared,
    user: UserArrays,
    num_consumed: int,
    tower: TowerScores,
    wanted: Wanted,
    scratch: Scratch,
    touched: int,
) -> tuple[NDArray[np.int64], int]:
    """Return the rows that may be listed, and how many the scratch memory has seen."""
    num_items = len(shared.table_rows)
    favourites = np.argsort(-user.category_counts[:, 1], kind="mergesort")[: wanted.categories]
    touched = touch_rows(shared.leaders, FIRST_SOURCE, num_items, scratch, touched)
    for favourite in favourites:
        code = user.category_codes[favourite]
        if code < len(shared.category_leaders):
            touched = touch_rows(shared.category_leaders[code], FIRST_SOURCE + 1, num_items, scratch, touched)
    nearest = nearest_rows(tower, shared.is_listable, wanted.tower)
    touched = touch_rows(nearest, FIRST_SOURCE + 2, num_items, scratch, touched)
    touched = touch_rows(shared.fresh, FIRST_SOURCE + 3, num_items, scratch, touched)
    rows = listable_pool(shared.is_listable, scratch, touched)
    if len(rows) < wanted.total:  # A narrow wish, a long list or a user who saw it all: a pass over all items.
        widest = most_popular(shared.popularity, shared.is_listable, wanted.total + num_consumed)
        touched = touch_rows(widest, FIRST_SOURCE, num_items, scratch, touched)
        rows = listable_pool(shared.is_listable, scratch, touched)
    return rows, touched
