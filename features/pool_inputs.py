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
from features.item_lines import FAR_CODE, NO_CODE, ItemLines, codes_at, hand_score, num_static_of, published_at
from features.model_inputs import RECENT_VISITS
from features.title_index import Titles, rarity
from features.tower_scores import TowerScores, fill_products

_PRE_RANKER_VISITS = (RECENT_VISITS, 1, 5, 6)
"""Columns of the visits that the pre-ranker looks at."""
_BLOCK = 64
"""Rows that are filled and scored at once."""
_FIRST_STATIC = 7
"""From here on a line's own numbers are copied."""
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


class PoolSources(NamedTuple):
    """What the pre-ranker's inputs of one list are computed from."""

    table_rows: NDArray[np.int64]
    """(N,)"""
    categories: NDArray[np.int32]
    """Of the item table, for codes that are too large for a line."""
    lines: ItemLines
    num_half_lives: int
    leans: NDArray[np.float64]
    """(C, 3) of the user, see `model_inputs.category_leans`."""
    taste_published_ms: float
    """Mean publication time of the user's newest items."""
    titles: Titles
    has_profile: bool
    """Whether the titles of the user's newest items have words: else nothing is like them."""
    rarities: NDArray[np.float64]
    tower: TowerScores
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
    numbers, visits, is_given = sources.lines.numbers, scratch.visits, sources.is_given
    closeness, vectors = sources.tower.closeness, sources.tower.item_vectors
    titles, profile, rarities, tokens = sources.titles, scratch.profile, sources.rarities, sources.titles.tokens
    has_profile, num_items, spans = sources.has_profile, len(sources.table_rows), sources.num_half_lives
    num_static = num_static_of(spans)
    for place in range(len(rows)):  # Short, so that many items are on their way from memory at once.
        row = rows[place]
        for column in range(4):
            out[column, place] = visits[row, _PRE_RANKER_VISITS[column]]
        at = first + place if is_given else row
        out[POOL_TOWER, place] = closeness[at] if at < len(closeness) else 0.0
        out[POOL_GAP, place] = numbers[row, num_static]  # Popularity, for the hand score below.
    if len(vectors):
        fill_products(vectors, rows, sources.tower.user_vector, out[POOL_TOWER])
    for place in range(len(rows)):
        row = rows[place]
        for index in range(num_static):
            out[_FIRST_STATIC + index, place] = numbers[row, index]
    for place in range(len(rows)):  # Whether anything was counted or not: a branch costs more than eight logs.
        hand = np.float32(hand_score(out[1, place], out[POOL_GAP, place]))
        out[_FIRST_STATIC, place] = hand if out[1, place] > 0.0 else out[_FIRST_STATIC, place]
    for column in range(4):
        for place in range(len(rows)):
            out[column, place] = model_inputs.log_share(out[column, place])
    unlike = model_inputs.log_similarity(0.0)
    for place in range(len(rows)):
        similarity[place], out[POOL_TITLE, place] = 0.0, unlike
        row = rows[place]
        if has_profile and row < len(tokens):
            similarity[place] = title_similarity(row, titles, profile, num_items, rarities)
            out[POOL_TITLE, place] = model_inputs.log_similarity(similarity[place])
    times_ms, published, taste_ms = sources.lines.times_ms, published_at(spans), sources.taste_published_ms
    published_ms = np.empty(len(rows), dtype=np.int64)
    for place in range(len(rows)):
        published_ms[place] = times_ms[rows[place], published]
    for place in range(len(rows)):
        out[POOL_GAP, place] = model_inputs.age_gap(published_ms[place], taste_ms)
    column = _FIRST_STATIC + num_static
    table_rows, categories = sources.table_rows, sources.categories
    fill_category_inputs(rows, table_rows, categories, sources.lines, spans, sources.leans, out, column)


@compiled
def fill_category_inputs(
    rows: NDArray[np.int64],
    table_rows: NDArray[np.int64],
    categories: NDArray[np.int32],
    lines: ItemLines,
    num_half_lives: int,
    leans: NDArray[np.float64],
    out: NDArray[np.float32],
    column: int,
) -> None:
    """Write what `category_leans` says of the items' categories, (any, n): their mean, 0 where nothing is known."""
    codes, first_code = lines.codes, codes_at(num_half_lives)
    for place in range(len(rows)):
        row, known, unseen, by_positives, by_events = rows[place], 0, 0.0, 0.0, 0.0
        is_far = codes[row, first_code] == FAR_CODE
        for slot in range(categories.shape[1]):
            code = np.int64(categories[table_rows[row], slot]) if is_far else np.int64(codes[row, first_code + slot])
            is_none = code < 0 or (code == NO_CODE and not is_far)
            if is_none or code >= len(leans):
                break
            known += 1
            by_positives += leans[code, 0]
            by_events += leans[code, 1]
            unseen += leans[code, 2]
        out[column, place] = by_positives / known if known else 0.0
        out[column + 1, place] = by_events / known if known else 0.0
        out[column + 2, place] = unseen / known if known else 0.0


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
