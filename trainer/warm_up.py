"""Calls every compiled function of the trainer once, so that no sample waits for a compiler."""

from __future__ import annotations

import numpy as np

from features.compiled import drop_old_caches
from features.config import FeaturesConfig
from features.top_rows import top_places
from features.warm_up import PACKAGE, warm_up
from trainer.list_builder import ListBuilder
from trainer.list_sampling import sampled_rows
from trainer.pre_ranker_learner import PreRankerLearner
from trainer.rating_events import RatingEvents, count_ratings
from trainer.rating_factors import RatingFactors
from trainer.rating_model import NUM_INPUTS
from trainer.rating_tables import RatingTables
from trainer.samples import Event
from trainer.tower_query import query_vector


def warm_up_trainer() -> None:
    """Ask for a made-up user, count made-up events, learn a made-up pool and made-up ratings."""
    warm_up()
    _count_events()
    PreRankerLearner(np.zeros(2, dtype=np.float32), 0.1).add_list(np.zeros((2, 2), dtype=np.float32), 0)
    one, nothing = np.ones((1, 1), dtype=np.float32), np.zeros(0, dtype=np.int64)
    query_vector(one, one[0], one[0], one, nothing, np.zeros(0, dtype=np.int8), one[0])
    top_places(one[0], 1)
    sampled_rows(np.zeros(9, dtype=np.float32), target=1, strongest=2, drawn=2, offset=0.5)
    tables, factors = RatingTables(), RatingFactors(seed=0)
    inputs, some, times = np.zeros((1, NUM_INPUTS), dtype=np.float32), np.ones(1), np.zeros(1, dtype=np.int64)
    for row in range(2000):  # Beyond the first size of the table of pairs.
        categories = np.array([[row, -1]], dtype=np.int32)
        events = RatingEvents(times, times, categories, some, some, times, np.zeros(1, dtype=np.bool_))
        sums = tables.reserved(0, 0, categories)
        tables.note_pairs(count_ratings(events, sums, factors.reserved(0, 0), inputs))
    tables.inputs(0, 0, np.full(2, -1, dtype=np.int32), 0)
    factors.inputs(0, 0)


def _count_events() -> None:
    """Count two made-up events of one user together."""
    builder = ListBuilder(FeaturesConfig())
    for item_id in ("a", "b"):
        builder.set_item(item_id, categories=["x"])
        builder.count_event(Event(item_id, "u", item_id, "", 1, 1_700_000_000_000))
    builder.settle()


if __name__ == "__main__":
    # Here alone, as the trainer needs no Arrow: `make setup` fills the cache for every process.
    from features.ingester_warm_up import warm_up_ingester

    drop_old_caches(PACKAGE)
    warm_up_trainer()
    warm_up_ingester()
