"""Takes the inputs of a micro-batch of values and counts each: one compiled pass over the events in their order.

Letters: `B` events, `M` categories of an item, `F` inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled
from trainer import rating_tables
from trainer.rating_factors import Factors, fill_affinity, learn_rating
from trainer.rating_tables import Sums, count_rating, fill_sums, standardised

_NUM_SUMS = len(rating_tables.INPUT_NAMES)


class RatingEvents(NamedTuple):
    """Events of one action, in their order."""

    user_rows: NDArray[np.int64]
    """(B,)"""
    item_rows: NDArray[np.int64]
    """(B,)"""
    categories: NDArray[np.int32]
    """(B, M) category rows of the items, -1 behind the last."""
    values: NDArray[np.float64]
    """(B,)"""
    labels: NDArray[np.float64]
    """(B,) 0 or 1."""
    times_ms: NDArray[np.int64]
    """(B,)"""
    is_held: NDArray[np.bool_]
    """(B,) counts, and teaches no weights."""


@compiled
def count_ratings(events: RatingEvents, sums: Sums, factors: Factors, inputs: NDArray[np.float32]) -> int:
    """Write what was known before each event (B, F), then count it; both tables have room for all.

    Returns:
        How many pairs of user and category are new.
    """
    new_pairs = 0
    for place in range(len(events.values)):
        user_row, item_row, categories = events.user_rows[place], events.item_rows[place], events.categories[place]
        label, time_ms = events.labels[place], events.times_ms[place]
        fill_sums(inputs[place, :_NUM_SUMS], user_row, item_row, categories, time_ms, sums)
        fill_affinity(inputs[place, _NUM_SUMS:], user_row, item_row, factors)
        z = standardised(events.values[place], label, sums.world)
        new_pairs += count_rating(user_row, item_row, categories, z, label, time_ms, sums)
        if not events.is_held[place]:
            learn_rating(user_row, item_row, z, factors)
    return new_pairs
