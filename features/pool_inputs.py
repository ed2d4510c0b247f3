"""The pre-ranker's inputs of a pool, and its scores: one compiled pass over what the sources touched.

Letters: `N` items in the caller's row space, `m` items of the pool, `H` half-lives, `P` pre-ranker inputs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.candidate_pool import Scratch
from features.compiled import compiled
from features.model_inputs import RECENT_VISITS, ItemArrays, UserArrays
from features.title_index import Titles, rarity

_PRE_RANKER_VISITS = (RECENT_VISITS, 1, 5, 6)
"""Columns of the visits that the pre-ranker looks at."""
CO_VISITATION_SHARE = 0.5
"""Weight of co-visitation over the last 5 against popularity in the hand score."""
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


@compiled
def pool_inputs_of(
    rows: NDArray[np.int64],
    table_rows: NDArray[np.int64],
    items: ItemArrays,
    user: UserArrays,
    static: NDArray[np.float32],
    popularity: NDArray[np.float32],
    category_shares: NDArray[np.float64],
    titles: Titles,
    rarities: NDArray[np.float64],
    closeness: NDArray[np.float32],
    is_given: bool,
    pre_ranker: NDArray[np.float32],
    scratch: Scratch,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
    """Return the pre-ranker's inputs in the order of `pre_ranker_input_names`, (m, P), title similarities and scores.

    `closeness` holds tower scores by row, by place where rows are given; `pre_ranker` (P,) are the weights.
    """
    taste_published_ms = model_inputs.mean_published_ms(user, table_rows, items)
    spans, num_items = len(items.decay), len(table_rows)
    out = np.zeros((len(rows), model_inputs.num_pre_ranker_inputs(spans)), dtype=np.float32)
    similarity = np.empty(len(rows))
    nothing = model_inputs.log_share(0.0)
    for place in range(len(rows)):
        row = rows[place]
        for column in range(4):
            chance = scratch.visits[row, _PRE_RANKER_VISITS[column]]
            out[place, column] = model_inputs.log_share(chance) if chance > 0.0 else nothing
        similarity[place] = title_similarity(row, titles, scratch.profile, num_items, rarities)
        out[place, POOL_TITLE] = model_inputs.log_similarity(similarity[place])
        at = place if is_given else row
        out[place, POOL_TOWER] = closeness[at] if at < len(closeness) else 0.0
        published_ms = items.published_ms[table_rows[row]]
        out[place, POOL_GAP] = model_inputs.age_gap(published_ms, taste_published_ms)
        for index in range(static.shape[1]):
            out[place, 7 + index] = static[row, index]
        if scratch.visits[row, 1] > 0.0:
            out[place, 7] = hand_score(scratch.visits[row, 1], popularity[row])
    model_inputs.fill_category_inputs(rows, table_rows, items, user, category_shares, out, 7 + static.shape[1])
    return out, similarity, _weighted_sums(out, pre_ranker)


@compiled
def _weighted_sums(inputs: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (m, P) times (P,), four sums at a time: one alone would wait for itself at every addition."""
    scores, size = np.empty(len(inputs), dtype=np.float32), len(weights)
    for place in range(len(inputs)):
        first = second = third = fourth = np.float32(0.0)
        for column in range(0, size - 3, 4):
            first += inputs[place, column] * weights[column]
            second += inputs[place, column + 1] * weights[column + 1]
            third += inputs[place, column + 2] * weights[column + 2]
            fourth += inputs[place, column + 3] * weights[column + 3]
        for column in range(size - size % 4, size):
            first += inputs[place, column] * weights[column]
        scores[place] = (first + second) + (third + fourth)
    return scores
