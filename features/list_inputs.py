"""The ranker's inputs of a list: every column of `ranker_input_names`, in one compiled pass.

Letters: `n` candidates, `F` ranker inputs, `U` user inputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.candidate_pool import Scratch, hand_score, title_similarity
from features.compiled import compiled
from features.item_summary import popularity_of
from features.model_inputs import NUM_VISITS, RECENT_VISITS, ItemArrays, UserArrays
from features.title_index import Titles


@compiled
def fill_ranker_inputs(
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
    """Write the inputs of the candidates (n, F) and of the user (U,); the scratch memory holds this user's visits."""
    model_inputs.fill_user_inputs(user, table_rows, items, seen_ms, now_ms, user_out)
    taste_published_ms = model_inputs.mean_published_ms(user, table_rows, items)
    column = model_inputs.fill_item_inputs(rows, table_rows, items, out, 0)
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
    for place in range(size):
        out[place, column] = model_inputs.tower_score(rows[place], vectors)
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
