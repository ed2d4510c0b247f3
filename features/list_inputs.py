"""The ranker's inputs of a list: every column of `ranker_input_names`, in one compiled pass.

Letters: `n` candidates, `F` ranker inputs, `U` user inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.candidate_pool import Scratch
from features.compiled import compiled
from features.item_lines import hand_score
from features.item_summary import popularity_of
from features.model_inputs import NUM_CATEGORY_INPUTS, NUM_VISITS, RECENT_VISITS, ItemArrays, UserArrays
from features.pool_inputs import POOL_GAP, POOL_TITLE, POOL_TOWER


class Pooled(NamedTuple):
    """What the pool knows of the candidates already; equal values are copied, not computed again."""

    inputs: NDArray[np.float32]
    """(n, P) of the pre-ranker."""
    similarity: NDArray[np.float64]
    """(n,) of titles."""
    scores: NDArray[np.float32]
    """(n,) of the pre-ranker."""


@compiled
def fill_ranker_inputs(
    rows: NDArray[np.int64],
    pooled: Pooled,
    table_rows: NDArray[np.int64],
    items: ItemArrays,
    user: UserArrays,
    seen_ms: NDArray[np.int64],
    now_ms: int,
    scratch: Scratch,
    out: NDArray[np.float32],
    user_out: NDArray[np.float32],
) -> None:
    """Write the inputs of the candidates (n, F) and of the user (U,), all but the declared ones before the last.

    The scratch memory holds this user's visits. Columns lie side by side until all are there: a loop over one of them
    is eight numbers an instruction.
    """
    model_inputs.fill_user_inputs(user, table_rows, items, seen_ms, now_ms, user_out)
    pre_ranks, similarity, size, num_user = pooled.scores, pooled.similarity, len(rows), len(user_out)
    visits, of_pool = scratch.visits, pooled.inputs
    columns = np.zeros((out.shape[1], size), dtype=np.float32)
    column = model_inputs.fill_item_inputs(rows, table_rows, items, columns, 0)
    popularity, chances = np.empty(size), np.empty((NUM_VISITS, size), dtype=np.float32)
    for place in range(size):
        for visit in range(NUM_VISITS):
            chances[visit, place] = visits[rows[place], visit]
        popularity[place] = popularity_of(items.sums[table_rows[rows[place]]], items.decay, items.totals)
        columns[column + NUM_VISITS, place] = of_pool[place, POOL_TITLE]
    for visit in range(NUM_VISITS):
        for place in range(size):
            columns[column + visit, place] = model_inputs.log_share(chances[visit, place])
    column += NUM_VISITS + 1
    last_5, recent = chances[1].astype(np.float64), chances[RECENT_VISITS].astype(np.float64)
    for place in range(size):
        columns[column, place] = hand_score(last_5[place], popularity[place])
    column += 1
    ranked = (popularity, last_5, recent, similarity, pre_ranks.astype(np.float64))
    for index in range(len(ranked)):
        model_inputs.fill_ranks(ranked[index], columns, column + index)
    column += 5
    first_category = of_pool.shape[1] - NUM_CATEGORY_INPUTS
    for place in range(size):
        for index in range(NUM_CATEGORY_INPUTS):
            columns[column + index, place] = of_pool[place, first_category + index]
        columns[column + NUM_CATEGORY_INPUTS, place] = of_pool[place, POOL_TOWER]
    column += NUM_CATEGORY_INPUTS + 1
    column = model_inputs.fill_age_inputs(rows, table_rows, items, seen_ms, now_ms, columns, column)
    for place in range(size):
        columns[column, place] = of_pool[place, POOL_GAP]
    column += 1
    column = model_inputs.fill_exposure_inputs(rows, table_rows, items, columns, column)
    column = model_inputs.fill_shown_inputs(rows, user, now_ms, scratch.marks, columns, column)
    _clip_columns(columns, column)
    mean = pre_ranks.mean() if size else np.float32(0.0)
    for place in range(size):
        for index in range(column):
            out[place, index] = columns[index, place]
        for index in range(num_user):  # Clipped already.
            out[place, column + index] = user_out[index]
        # The pre-ranker's score stays unclipped: it is the ranker's skip connection and starts as the whole answer.
        out[place, out.shape[1] - 1] = pre_ranks[place] - mean


@compiled
def _clip_columns(columns: NDArray[np.float32], num_columns: int) -> None:
    """Clip the first columns, in the numbers' own width and without a branch: sixteen at a time."""
    limit = np.float32(model_inputs.CLIP)
    for index in range(num_columns):
        for place in range(columns.shape[1]):
            columns[index, place] = min(max(columns[index, place], -limit), limit)
