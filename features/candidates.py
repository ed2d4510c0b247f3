"""Candidate lists with their ranker inputs: one function for server, trainer and `evaluate`.

Items that follow the user's last ones, that share words with them, that are popular, new, or near in the tower's space
make a pool; the pre-ranker, linear and learnt, cuts it to the list. No pass over all items: the pool is what the sources
touched.
Letters: `N` items in the caller's row space, `m` items of the pool, `n` candidates, `H` half-lives, `L` history,
`F` ranker inputs, `P` pre-ranker inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.co_visitation import Pairs
from features.compiled import compiled
from features.config import CandidatesConfig, FeaturesConfig
from features.count_tables import HISTORY_WINDOW, CountTables
from features.declared_features import of_entity
from features.declared_values import declared_values
from features.item_summary import ItemSummary, best_rows, popularity_of
from features.item_table import ItemTable
from features.model_inputs import NUM_VISITS, RECENT_VISITS, ItemArrays, UserArrays
from features.title_index import NUM_BUCKETS, Titles
from features.user_state import UserState

SOURCES = ("given", "covisitation", "content", "popularity", "category", "tower", "fresh")
"""How an item came into a list; one found by several is named after the first."""
_BY_PAIRS, _BY_TITLE, _FIRST_SOURCE, _BY_FRESH = 1, 2, 3, 6
_CONSUMED = 128
_PRE_RANKER_VISITS = (RECENT_VISITS, 1, 5, 6)
"""Columns of the visits that the pre-ranker looks at."""
RECENCY_DECAY = 0.9
"""Weight of an item of the history against the next newer one, in co-visitation and in the title profile."""
TITLE_WINDOW = 10
"""Newest items whose titles make the user's profile."""
CO_VISITATION_SHARE = 0.5
"""Weight of co-visitation over the last 5 against popularity in the hand score."""


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
    """(m, P)"""

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


@dataclass(frozen=True)
class TowerQuery:
    """A user's vector and what to compare it with."""

    user_vector: NDArray[np.float32]
    """(D,)"""
    item_vectors: NDArray[np.float32]
    """(<= N, D); items beyond it have no vector yet."""


class Scratch(NamedTuple):
    """The arrays of a `Workspace`, as compiled code takes them; all zeros between two lists."""

    visits: NDArray[np.float32]
    """(N, visits) what the history says of each item."""
    marks: NDArray[np.uint8]
    """(N,) what found the item first."""
    profile: NDArray[np.float32]
    """(buckets,) weights of the title tokens of the user's newest items."""
    pool: NDArray[np.int64]
    """(N,) rows that are marked, in the order of their discovery."""


class Workspace:
    """Scratch memory of one thread, a row an item: what a list touches is cleared behind it."""

    def __init__(self) -> None:
        self.visits = np.zeros((64, NUM_VISITS), dtype=np.float32)
        self.marks = np.zeros(64, dtype=np.uint8)
        self.profile = np.zeros(NUM_BUCKETS, dtype=np.float32)
        self.pool = np.zeros(64, dtype=np.int64)

    def scratch(self) -> Scratch:
        """Return the arrays."""
        return Scratch(self.visits, self.marks, self.profile, self.pool)

    def reserve(self, num_items: int) -> None:
        """Grow to `num_items` rows, doubling the capacity."""
        while num_items > len(self.marks):
            self.visits = np.concatenate([self.visits, np.zeros_like(self.visits)])
            self.marks = np.concatenate([self.marks, np.zeros_like(self.marks)])
            self.pool = np.concatenate([self.pool, np.zeros_like(self.pool)])


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
    static: NDArray[np.float32]
    """(N, H + 4) pre-ranker inputs that are the same for every user."""
    counts: CountTables


def list_context(
    summary: ItemSummary,
    table: ItemTable,
    counts: CountTables,
    table_rows: NDArray[np.int64],
    rows_of_table: NDArray[np.int64] | None = None,
) -> ListContext:
    """Express a summary in the caller's rows.

    Args:
        summary: of `table`.
        table: the items.
        counts: in the caller's rows.
        table_rows: (N,) the caller's rows in the table.
        rows_of_table: (rows of the table,) the table's rows in the caller's space, -1 unknown; None where both are one.
    """

    def of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if rows_of_table is None:
            return rows
        return np.where(rows >= 0, rows_of_table[np.maximum(rows, 0)], -1)

    return ListContext(
        summary,
        table,
        table_rows,
        of(summary.leaders),
        of(summary.category_leaders),
        of(summary.fresh),
        summary.is_listable[table_rows],
        _static_inputs(table, counts, table_rows, summary),
        counts,
    )


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
    """
    num_items = len(context.table_rows)
    workspace.reserve(num_items)
    items, arrays = _item_arrays(context, now_ms), _user_arrays(user, rows_of_user, context.table)
    scratch = workspace.scratch()
    pairs, successors = context.counts.pairs.pairs, context.counts.successors.pairs
    titles = context.counts.titles.titles
    history = rows_of_user.history[:HISTORY_WINDOW]
    touched = _touch_neighbours(history, rows_of_user.consumed, pairs, successors, titles, num_items, scratch)
    vectors = _vectors(tower)
    if given_rows is None:
        found = _other_sources(context, arrays, tower, features.candidates)
        is_listable = context.is_listable if is_allowed is None else context.is_listable & is_allowed
        touched = _touch_rows(found, _FIRST_SOURCE, num_items, scratch, touched)
        pool_rows = _listable_pool(is_listable, scratch, touched)
        if len(pool_rows) < features.candidates.total:  # A narrow wish, a long list or a user who saw it all.
            wider = _widest_rows(context, is_listable, features.candidates.total + len(rows_of_user.consumed))
            touched = _touch_rows((wider,), _FIRST_SOURCE, num_items, scratch, touched)
            pool_rows = _listable_pool(is_listable, scratch, touched)
    else:
        pool_rows = given_rows
    pool_inputs = _pool_inputs(
        pool_rows,
        context.table_rows,
        items,
        arrays,
        context.static,
        context.summary.category_shares,
        titles,
        vectors,
        scratch,
    )
    scores = pool_inputs @ pre_ranker  # (m,)
    if given_rows is None:
        kept, sources = _cut_pool(pool_rows, scores, features.candidates.total, features.candidates.fresh, scratch)
    else:
        kept, sources = np.arange(len(given_rows)), np.zeros(len(given_rows), dtype=np.int64)
    rows = pool_rows[kept]
    inputs, user_inputs = _inputs(rows, scores[kept], arrays, items, context, now_ms, vectors, features, user, scratch)
    _clear(scratch, touched, history, titles)
    return CandidateList(rows, sources, inputs, user_inputs, pool_rows, pool_inputs)


def _vectors(tower: TowerQuery | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if tower is None:
        return np.zeros((0, 1), dtype=np.float32), np.zeros(1, dtype=np.float32)
    return tower.item_vectors, tower.user_vector


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


def _other_sources(
    context: ListContext, user: UserArrays, tower: TowerQuery | None, config: CandidatesConfig
) -> tuple[NDArray[np.int64], ...]:
    """Return the rows of popularity, of the user's favourite categories, nearest by the tower, and newest."""
    favourites = np.argsort(-user.category_counts[:, 1], kind="stable")[: config.categories]
    codes = user.category_codes[favourites]
    codes = codes[codes < len(context.category_leaders)]
    by_tower = np.zeros(0, dtype=np.int64)
    if tower is not None and config.tower:
        scores = tower.item_vectors @ tower.user_vector  # (N,)
        by_tower = best_rows(np.where(context.is_listable[: len(scores)], scores, -np.inf), config.tower)
    return context.leaders, context.category_leaders[codes].ravel(), by_tower, context.fresh


def _widest_rows(context: ListContext, is_listable: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """Return the most popular listable rows of all items: a pass over them, for when the sources found too few."""
    popularity = context.summary.popularity[context.table_rows]
    return best_rows(np.where(is_listable, popularity, np.float32(-np.inf)), size)


@compiled
def title_similarity(row: int, titles: Titles, profile: NDArray[np.float32], num_items: int) -> float:
    """Return the cosine of an item's title and the profile of the user's newest titles, tokens weighted by rarity."""
    dot = 0.0
    if row >= len(titles.tokens):
        return 0.0
    for place in range(titles.tokens.shape[1]):
        bucket = titles.tokens[row, place]
        if bucket < 0:
            break
        if profile[bucket] > 0.0:
            dot += profile[bucket] * math.log(1.0 + num_items / titles.num_titles[bucket])
    if dot == 0.0:
        return 0.0
    square = 0.0
    for place in range(titles.tokens.shape[1]):
        bucket = titles.tokens[row, place]
        if bucket < 0:
            break
        square += math.log(1.0 + num_items / titles.num_titles[bucket]) ** 2
    return dot / math.sqrt(square)


def _static_inputs(
    table: ItemTable, counts: CountTables, table_rows: NDArray[np.int64], summary: ItemSummary
) -> NDArray[np.float32]:
    sums, decay = table.counters.sums_and_decay(summary.now_ms)
    out = np.zeros((len(table_rows), len(decay) + 4), dtype=np.float32)
    _fill_static(table_rows, sums, decay, summary.totals, table.published_time_ms, counts.seen_ms, summary.now_ms, out)
    return out


@compiled
def _fill_static(
    table_rows: NDArray[np.int64],
    sums: NDArray[np.float64],
    decay: NDArray[np.float64],
    totals: NDArray[np.float64],
    published_ms: NDArray[np.int64],
    seen_ms: NDArray[np.int64],
    now_ms: int,
    out: NDArray[np.float32],
) -> None:
    spans = len(decay)
    for row in range(len(table_rows)):
        table_row = table_rows[row]
        for span in range(spans):
            positives = sums[table_row, span, 1] * decay[span]
            out[row, span] = model_inputs.log_share(positives / max(totals[span, 1], 1.0))
        if published_ms[table_row]:
            hours = max(now_ms - published_ms[table_row], 0) / 3.6e6
            out[row, spans] = math.log1p(hours) / 4.0
            out[row, spans + 1] = 1.0 if hours < 1.0 else 0.0
        if row < len(seen_ms):
            out[row, spans + 2] = model_inputs.known_for(seen_ms[row, 0], now_ms)
            out[row, spans + 3] = model_inputs.known_for(seen_ms[row, 1], now_ms)


@compiled
def _touch_neighbours(
    history: NDArray[np.int64],
    consumed: NDArray[np.int64],
    pairs: Pairs,
    successors: Pairs,
    titles: Titles,
    num_items: int,
    scratch: Scratch,
) -> int:
    """Sum up what follows the history and what resembles it; mark the consumed items; return the size of the pool."""
    marks, pool, visits, profile = scratch.marks, scratch.pool, scratch.visits, scratch.profile
    size = 0
    for row in consumed:
        if 0 <= row < num_items and marks[row] == 0:
            marks[row] = _CONSUMED
            pool[size] = row
            size += 1
    length = len(history)
    recency, weight = 0.0, 1.0
    for _ in range(length):
        recency += weight
        weight *= RECENCY_DECAY
    weight = 1.0
    for place in range(length):
        row = history[place]
        if 0 <= row < len(pairs.totals):
            total = max(pairs.totals[row], 1.0)
            for k in range(pairs.neighbours.shape[1]):
                neighbour = pairs.neighbours[row, k]
                if neighbour < 0:
                    break
                if neighbour >= num_items:
                    continue
                if marks[neighbour] == 0:
                    marks[neighbour] = _BY_PAIRS
                    pool[size] = neighbour
                    size += 1
                chance = pairs.weights[row, k] / total
                if place == 0:
                    visits[neighbour, 0] += chance
                if place < 5:
                    visits[neighbour, 1] += chance / min(5, length)
                    both = total * max(pairs.totals[neighbour], 1.0)
                    visits[neighbour, 6] += pairs.weights[row, k] / math.sqrt(both)
                visits[neighbour, 2] += chance / length
                visits[neighbour, 3] += weight * chance / recency
        if place < 5 and 0 <= row < len(successors.totals):
            total = max(successors.totals[row], 1.0)
            for k in range(successors.neighbours.shape[1]):
                neighbour = successors.neighbours[row, k]
                if neighbour < 0:
                    break
                if neighbour >= num_items:
                    continue
                if marks[neighbour] == 0:
                    marks[neighbour] = _BY_PAIRS
                    pool[size] = neighbour
                    size += 1
                chance = successors.weights[row, k] / total
                if place == 0:
                    visits[neighbour, 4] += chance
                visits[neighbour, 5] += chance / min(5, length)
        weight *= RECENCY_DECAY
    weight, recency = 1.0, 0.0
    for place in range(min(length, TITLE_WINDOW)):
        recency += weight
        weight *= RECENCY_DECAY
    weight = 1.0
    for place in range(min(length, TITLE_WINDOW)):
        row = history[place]
        if 0 <= row < len(titles.tokens):
            square = 0.0
            for slot in range(titles.tokens.shape[1]):
                bucket = titles.tokens[row, slot]
                if bucket < 0:
                    break
                square += math.log(1.0 + num_items / titles.num_titles[bucket]) ** 2
            for slot in range(titles.tokens.shape[1]):
                bucket = titles.tokens[row, slot]
                if bucket < 0:
                    break
                rarity = math.log(1.0 + num_items / titles.num_titles[bucket])
                profile[bucket] += weight * rarity / math.sqrt(square) / recency
                for posting in range(titles.postings.shape[1]):
                    neighbour = titles.postings[bucket, posting]
                    if neighbour < 0:
                        break
                    if neighbour < num_items and marks[neighbour] == 0:
                        marks[neighbour] = _BY_TITLE
                        pool[size] = neighbour
                        size += 1
        weight *= RECENCY_DECAY
    return size


@compiled
def _touch_rows(
    found: tuple[NDArray[np.int64], ...], first_source: int, num_items: int, scratch: Scratch, size: int
) -> int:
    """Put what further sources found into the pool, each marked with its number from `first_source` on."""
    for source in range(len(found)):
        for row in found[source]:
            if row < 0 or row >= num_items or scratch.marks[row] == _CONSUMED:
                continue
            if scratch.marks[row] == 0:
                scratch.pool[size] = row
                size += 1
                scratch.marks[row] = first_source + source
    return size


@compiled
def _listable_pool(is_listable: NDArray[np.bool_], scratch: Scratch, size: int) -> NDArray[np.int64]:
    rows = np.empty(size, dtype=np.int64)
    count = 0
    for place in range(size):
        row = scratch.pool[place]
        if scratch.marks[row] != _CONSUMED and is_listable[row]:
            rows[count] = row
            count += 1
    return rows[:count]


@compiled
def _pool_inputs(
    rows: NDArray[np.int64],
    table_rows: NDArray[np.int64],
    items: ItemArrays,
    user: UserArrays,
    static: NDArray[np.float32],
    category_shares: NDArray[np.float64],
    titles: Titles,
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]],
    scratch: Scratch,
) -> NDArray[np.float32]:
    """Return the pre-ranker's inputs in the order of `pre_ranker_input_names`, (m, P)."""
    taste_published_ms = model_inputs.mean_published_ms(user, table_rows, items)
    spans, num_items = len(items.decay), len(table_rows)
    out = np.zeros((len(rows), model_inputs.num_pre_ranker_inputs(spans)), dtype=np.float32)
    item_vectors, user_vector = vectors
    nothing = model_inputs.log_share(0.0)
    for place in range(len(rows)):
        row = rows[place]
        for column in range(4):
            chance = scratch.visits[row, _PRE_RANKER_VISITS[column]]
            out[place, column] = model_inputs.log_share(chance) if chance > 0.0 else nothing
        out[place, 4] = model_inputs.log_similarity(title_similarity(row, titles, scratch.profile, num_items))
        popularity = popularity_of(items.sums[table_rows[row]], items.decay, items.totals)
        out[place, 5] = hand_score(scratch.visits[row, 1], popularity)
        if row < len(item_vectors):
            score = np.float32(0.0)
            for index in range(len(user_vector)):
                score += item_vectors[row, index] * user_vector[index]
            out[place, 6] = score
        published_ms = items.published_ms[table_rows[row]]
        out[place, 7] = model_inputs.age_gap(published_ms, taste_published_ms)
        for index in range(static.shape[1]):
            out[place, 8 + index] = static[row, index]
    model_inputs.fill_category_inputs(rows, table_rows, items, user, category_shares, out, 8 + static.shape[1])
    return out


@compiled
def hand_score(last_5: float, popularity: float) -> float:
    """Mix P(next | last 5) with popularity, half and half, as a scaled log: the simple method to beat."""
    return model_inputs.log_share(CO_VISITATION_SHARE * last_5 + (1.0 - CO_VISITATION_SHARE) * popularity)


@compiled
def _cut_pool(
    rows: NDArray[np.int64], scores: NDArray[np.float32], total: int, fresh: int, scratch: Scratch
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the best `total` rows, best first, the last `fresh` of them kept for the newest; and sources."""
    size = len(rows)
    wanted = min(total, size)
    chosen, sources = np.empty(wanted, dtype=np.int64), np.empty(wanted, dtype=np.int64)
    if wanted < size:
        bound = np.partition(scores, size - wanted)[size - wanted]
        above = np.flatnonzero(scores >= bound)
    else:
        above = np.arange(size)
    order = above[np.argsort(-scores[above], kind="mergesort")]
    num_fresh = 0
    for place in range(size):
        if scratch.marks[rows[place]] == _BY_FRESH and scores[place] < scores[order[wanted - 1]] and num_fresh < fresh:
            num_fresh += 1
    for rank in range(wanted - num_fresh):
        chosen[rank] = order[rank]
    filled = wanted - num_fresh
    for place in range(size):  # The pool holds the newest in their order.
        is_below = scores[place] < scores[order[wanted - 1]]
        if scratch.marks[rows[place]] == _BY_FRESH and is_below and filled < wanted:
            chosen[filled] = place
            filled += 1
    for rank in range(wanted):
        sources[rank] = scratch.marks[rows[chosen[rank]]]
    return chosen, sources


@compiled
def _clear(scratch: Scratch, size: int, history: NDArray[np.int64], titles: Titles) -> None:
    """Leave the scratch memory as it was found: zeros."""
    for place in range(size):
        row = scratch.pool[place]
        scratch.marks[row] = 0
        for column in range(scratch.visits.shape[1]):
            scratch.visits[row, column] = 0.0
    for place in range(min(len(history), TITLE_WINDOW)):
        row = history[place]
        if 0 <= row < len(titles.tokens):
            for slot in range(titles.tokens.shape[1]):
                bucket = titles.tokens[row, slot]
                if bucket < 0:
                    break
                scratch.profile[bucket] = 0.0


def _inputs(
    rows: NDArray[np.int64],
    pre_ranks: NDArray[np.float32],
    arrays: UserArrays,
    items: ItemArrays,
    context: ListContext,
    now_ms: int,
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]],
    features: FeaturesConfig,
    user: UserState,
    scratch: Scratch,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the columns in the order of `ranker_input_names`, (n, F), and the user's, (U,)."""
    declared = _declared_inputs(user, context, rows, now_ms, features)
    num_columns = model_inputs.num_fixed_inputs(len(items.decay)) + declared.shape[1] + 1
    inputs = np.zeros((len(rows), num_columns), dtype=np.float32)
    user_inputs = np.zeros(len(items.decay) + model_inputs.NUM_TASTES, dtype=np.float32)
    _fill(
        rows,
        pre_ranks,
        context.table_rows,
        items,
        arrays,
        context.counts.seen_ms,
        context.summary.category_shares,
        context.counts.titles.titles,
        vectors,
        now_ms,
        scratch,
        declared,
        inputs,
        user_inputs,
    )
    return inputs, user_inputs


@compiled
def _fill(
    rows: NDArray[np.int64],
    pre_ranks: NDArray[np.float32],
    table_rows: NDArray[np.int64],
    items: ItemArrays,
    user: UserArrays,
    seen_ms: NDArray[np.int64],
    category_shares: NDArray[np.float64],
    titles: Titles,
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]],
    now_ms: int,
    scratch: Scratch,
    declared: NDArray[np.float64],
    out: NDArray[np.float32],
    user_out: NDArray[np.float32],
) -> None:
    model_inputs.fill_user_inputs(user, table_rows, items, seen_ms, now_ms, user_out)
    taste_published_ms = model_inputs.mean_published_ms(user, table_rows, items)
    column = model_inputs.fill_item_inputs(rows, table_rows, items, now_ms, out, 0)
    size, num_items = len(rows), len(table_rows)
    popularity, similarity = np.empty(size), np.empty(size)
    last_5, recent = np.empty(size), np.empty(size)
    mean = pre_ranks.mean() if size else np.float32(0.0)
    nothing = model_inputs.log_share(0.0)
    for place in range(size):
        row = rows[place]
        for visit in range(NUM_VISITS):
            chance = scratch.visits[row, visit]
            out[place, column + visit] = model_inputs.log_share(chance) if chance > 0.0 else nothing
        popularity[place] = popularity_of(items.sums[table_rows[row]], items.decay, items.totals)
        similarity[place] = title_similarity(row, titles, scratch.profile, num_items)
        out[place, column + NUM_VISITS] = model_inputs.log_similarity(similarity[place])
        last_5[place], recent[place] = scratch.visits[row, 1], scratch.visits[row, RECENT_VISITS]
        out[place, column + NUM_VISITS + 1] = hand_score(last_5[place], popularity[place])
    column += NUM_VISITS + 2
    ranked = (popularity, last_5, recent, similarity, pre_ranks.astype(np.float64))
    for index in range(len(ranked)):
        model_inputs.fill_ranks(ranked[index], out, column + index)
    column = model_inputs.fill_category_inputs(rows, table_rows, items, user, category_shares, out, column + 5)
    item_vectors, user_vector = vectors
    for place in range(size):
        if rows[place] < len(item_vectors):
            score = np.float32(0.0)
            for index in range(len(user_vector)):
                score += item_vectors[rows[place], index] * user_vector[index]
            out[place, column] = score
    column = model_inputs.fill_age_inputs(rows, table_rows, items, seen_ms, taste_published_ms, now_ms, out, column + 1)
    column = model_inputs.fill_exposure_inputs(rows, table_rows, items, out, column)
    column = model_inputs.fill_shown_inputs(rows, user, now_ms, out, column)
    for place in range(size):
        for index in range(len(user_out)):
            out[place, column + index] = user_out[index]
        for index in range(declared.shape[1]):
            out[place, column + len(user_out) + index] = declared[place, index]
        for index in range(out.shape[1] - 1):
            out[place, index] = min(max(out[place, index], -model_inputs.CLIP), model_inputs.CLIP)
        # The pre-ranker's score stays unclipped: it is the ranker's skip connection and starts as the whole answer.
        out[place, out.shape[1] - 1] = pre_ranks[place] - mean


def _declared_inputs(
    user: UserState, context: ListContext, rows: NDArray[np.int64], now_ms: int, features: FeaturesConfig
) -> NDArray[np.float64]:
    """Return the declared features of the items, the user and all together, (n, V)."""
    if not features.declared:
        return np.zeros((len(rows), 0))
    table = context.table
    raw = {
        "item": table.declared.rows(len(table))[context.table_rows[rows]],
        "user": user.declared[None],
        "global": table.global_declared.rows(1),
    }
    values = [declared_values(of_entity(features.declared, e), numbers, now_ms) for e, numbers in raw.items()]
    return np.concatenate([np.broadcast_to(one, (len(rows), one.shape[1])) for one in values], axis=1)
