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

    The scratch memory holds this user's visits.
    """
    model_inputs.fill_user_inputs(user, table_rows, items, seen_ms, now_ms, user_out)
    column = model_inputs.fill_item_inputs(rows, table_rows, items, out, 0)
    pre_ranks, similarity, size = pooled.scores, pooled.similarity, len(rows)
    popularity, last_5, recent = np.empty(size), np.empty(size), np.empty(size)
    mean = pre_ranks.mean() if size else np.float32(0.0)
    nothing = model_inputs.log_share(0.0)
    for place in range(size):
        row = rows[place]
        for visit in range(NUM_VISITS):
            chance = scratch.visits[row, visit]
            out[place, column + visit] = model_inputs.log_share(chance) if chance > 0.0 else nothing
        popularity[place] = popularity_of(items.sums[table_rows[row]], items.decay, items.totals)
        out[place, column + NUM_VISITS] = pooled.inputs[place, POOL_TITLE]
        last_5[place], recent[place] = scratch.visits[row, 1], scratch.visits[row, RECENT_VISITS]
        out[place, column + NUM_VISITS + 1] = hand_score(last_5[place], popularity[place])
    column += NUM_VISITS + 2
    ranked = (popularity, last_5, recent, similarity, pre_ranks.astype(np.float64))
    for index in range(len(ranked)):
        model_inputs.fill_ranks(ranked[index], out, column + index)
    column += 5
    for place in range(size):
        for index in range(NUM_CATEGORY_INPUTS):
            out[place, column + index] = pooled.inputs[place, pooled.inputs.shape[1] - NUM_CATEGORY_INPUTS + index]
        out[place, column + NUM_CATEGORY_INPUTS] = pooled.inputs[place, POOL_TOWER]
    column += NUM_CATEGORY_INPUTS + 1
    column = model_inputs.fill_age_inputs(rows, table_rows, items, seen_ms, now_ms, out, column)
    for place in range(size):
        out[place, column] = pooled.inputs[place, POOL_GAP]
    column += 1
    column = model_inputs.fill_exposure_inputs(rows, table_rows, items, out, column)
    column = model_inputs.fill_shown_inputs(rows, user, now_ms, scratch.marks, out, column)
    limit = np.float32(model_inputs.CLIP)
    for place in range(size):
        for index in range(len(user_out)):
            out[place, column + index] = user_out[index]
        for index in range(out.shape[1] - 1):  # In the numbers' own width and without a branch: sixteen at a time.
            out[place, index] = min(max(out[place, index], -limit), limit)
        # The pre-ranker's score stays unclipped: it is the ranker's skip connection and starts as the whole answer.
        out[place, out.shape[1] - 1] = pre_ranks[place] - mean
