"""The pre-ranker's inputs of a pool, and its scores: one compiled pass over what the sources touched.

Letters: `N` items in the caller's row space, `m` items of the pool, `H` half-lives, `P` pre-ranker inputs,
`C` categories.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.candidate_pool import Scratch
from features.compiled import compiled
from features.model_inputs import RECENT_VISITS, ItemArrays
from features.title_index import Titles, rarity

_PRE_RANKER_VISITS = (RECENT_VISITS, 1, 5, 6)
"""Columns of the visits that the pre-ranker looks at."""
CO_VISITATION_SHARE = 0.5
"""Weight of co-visitation over the last 5 against popularity in the hand score."""
_BLOCK = 64
"""Rows that are filled and scored at once."""
POOL_TITLE, POOL_TOWER, POOL_GAP = 4, 5, 6
"""Columns of the pool's inputs that the ranker sees too, as are the last three, of categories."""


@compiled
def title_similarity(
    row: int, titles: Titles, profile: NDArray[np.float32], num_items: int, rarities: NDArray[np.float64]
) -> float:
    """Return the cosine of an item's title and the profile of the user's newest titles, tokens weighted by rarity."""
    dot = 0.0
    if row >= len(titles.tokens):
        return 0.0
    for place in range(titles.tokens.shape[1]):
        bucket = titles.tokens[row, place]
        if bucket < 0:
            break
        if profile[bucket] > 0.0:
            dot += profile[bucket] * rarity(titles.num_titles[bucket], num_items, rarities)
    if dot == 0.0:
        return 0.0
    square = 0.0
    for place in range(titles.tokens.shape[1]):
        bucket = titles.tokens[row, place]
        if bucket < 0:
            break
        square += rarity(titles.num_titles[bucket], num_items, rarities) ** 2
    return dot / math.sqrt(square)


@compiled
def hand_score(last_5: float, popularity: float) -> float:
    """Mix P(next | last 5) with popularity, half and half, as a scaled log: the simple method to beat."""
    return model_inputs.log_share(CO_VISITATION_SHARE * last_5 + (1.0 - CO_VISITATION_SHARE) * popularity)


@compiled
def fill_static_inputs(
    table_rows: NDArray[np.int64],
    sums: NDArray[np.float64],
    decay: NDArray[np.float64],
    totals: NDArray[np.float64],
    published_ms: NDArray[np.int64],
    seen_ms: NDArray[np.int64],
    popularity: NDArray[np.float32],
    now_ms: int,
    out: NDArray[np.float32],
) -> None:
    """Write the pre-ranker inputs that are the same for every user, (N, H + 5): hand score, log shares, ages, idle."""
    spans = 1 + len(decay)
    for row in range(len(table_rows)):
        table_row = table_rows[row]
        out[row, 0] = hand_score(0.0, popularity[row])
        for span in range(len(decay)):
            positives = sums[table_row, span, 1] * decay[span]
            out[row, 1 + span] = model_inputs.log_share(positives / max(totals[span, 1], 1.0))
        model_inputs.fill_ages(published_ms[table_row], row, seen_ms, now_ms, out, row, spans)


class PoolSources(NamedTuple):
    """What the pre-ranker's inputs of one list are computed from."""

    table_rows: NDArray[np.int64]
    """(N,)"""
    items: ItemArrays
    static: NDArray[np.float32]
    """(N, H + 5)"""
    popularity: NDArray[np.float32]
    """(N,)"""
    leans: NDArray[np.float64]
    """(C, 3) of the user, see `model_inputs.category_leans`."""
    taste_published_ms: float
    """Mean publication time of the user's newest items."""
    titles: Titles
    has_profile: bool
    """Whether the titles of the user's newest items have words: else nothing is like them."""
    rarities: NDArray[np.float64]
    closeness: NDArray[np.float32]
    """Tower scores by row, by place where rows are given."""
    is_given: bool


@compiled
def pool_scores(
    rows: NDArray[np.int64], sources: PoolSources, pre_ranker: NDArray[np.float32], scratch: Scratch, keeps_inputs: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return the pre-ranker's scores of a pool (m,), and where wanted its inputs (m, P) and title similarities (m,).

    The inputs are in the order of `pre_ranker_input_names`. A block at a time, columns side by side: what nobody keeps
    never leaves the processor's nearest cache, and sums are made of many rows at once.
    """
    size, num_inputs = len(rows), len(pre_ranker)
    kept = size if keeps_inputs else 0
    inputs, similarity = np.empty((kept, num_inputs), dtype=np.float32), np.empty(kept)
    scores = np.empty(size, dtype=np.float32)
    block, block_similarity = np.empty((num_inputs, _BLOCK), dtype=np.float32), np.empty(_BLOCK)
    sums = np.empty((4, _BLOCK), dtype=np.float32)
    for first in range(0, size, _BLOCK):
        end = min(first + _BLOCK, size)
        _fill_block(rows[first:end], first, sources, scratch, block, block_similarity)
        _weighted_sums(block, pre_ranker, sums, scores[first:end])
        for place in range(first, end if keeps_inputs else first):
            similarity[place] = block_similarity[place - first]
            for column in range(num_inputs):
                inputs[place, column] = block[column, place - first]
    return scores, inputs, similarity


@compiled
def _fill_block(
    rows: NDArray[np.int64],
    first: int,
    sources: PoolSources,
    scratch: Scratch,
    out: NDArray[np.float32],
    similarity: NDArray[np.float64],
) -> None:
    """Write the inputs of some rows, (P, any); `first` is the place of `rows[0]` among the given ones."""
    # Arrays by names of their own: what lies in a tuple is counted anew by every pass of the loop.
    static, visits, closeness, is_given = sources.static, scratch.visits, sources.closeness, sources.is_given
    table_rows, published_ms, popularity = sources.table_rows, sources.items.published_ms, sources.popularity
    titles, profile, rarities, tokens = sources.titles, scratch.profile, sources.rarities, sources.titles.tokens
    has_profile, taste_ms, num_items = sources.has_profile, sources.taste_published_ms, len(table_rows)
    for place in range(len(rows)):
        row = rows[place]
        for index in range(static.shape[1]):
            out[7 + index, place] = static[row, index]
        at = first + place if is_given else row
        out[POOL_TOWER, place] = closeness[at] if at < len(closeness) else 0.0
        out[POOL_GAP, place] = model_inputs.age_gap(published_ms[table_rows[row]], taste_ms)
    nothing, unlike = model_inputs.log_share(0.0), model_inputs.log_similarity(0.0)
    for place in range(len(rows)):
        row = rows[place]
        for column in range(4):
            chance = visits[row, _PRE_RANKER_VISITS[column]]
            out[column, place] = model_inputs.log_share(chance) if chance > 0.0 else nothing
        if visits[row, 1] > 0.0:
            out[7, place] = hand_score(visits[row, 1], popularity[row])
        similarity[place], out[POOL_TITLE, place] = 0.0, unlike
        if has_profile and row < len(tokens):
            similarity[place] = title_similarity(row, titles, profile, num_items, rarities)
            out[POOL_TITLE, place] = model_inputs.log_similarity(similarity[place])
    categories = sources.items.categories
    model_inputs.fill_category_inputs(rows, table_rows, categories, sources.leans, out, 7 + static.shape[1])


@compiled
def _weighted_sums(
    inputs: NDArray[np.float32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> None:
    """Write (P, >= m) times (P,), (m,), in four sums of every fourth input each; `sums` (4, any) are scratch memory."""
    size, whole = len(scores), len(weights) - len(weights) % 4
    sums[:, :size] = 0.0
    for column in range(len(weights)):
        one, weight = column % 4 if column < whole else 0, weights[column]
        for place in range(size):
            sums[one, place] += inputs[column, place] * weight
    for place in range(size):
        scores[place] = (sums[0, place] + sums[1, place]) + (sums[2, place] + sums[3, place])
