"""Calls every compiled function of the trainer once, so that no sample waits for a compiler."""

from __future__ import annotations

import numpy as np

from features.compiled import drop_old_caches
from features.warm_up import PACKAGE, warm_up
from trainer.pre_ranker_learner import PreRankerLearner
from trainer.rating_factors import RatingFactors
from trainer.rating_tables import RatingTables


def warm_up_trainer() -> None:
    """Learn a made-up pool and two made-up ratings."""
    warm_up()
    PreRankerLearner(np.zeros(2, dtype=np.float32), 0.1).add_list(np.zeros((2, 2), dtype=np.float32), 0)
    tables, factors = RatingTables(), RatingFactors(seed=0)
    for row in range(2000):  # Beyond the first size of the table of pairs.
        categories = np.array([row, -1], dtype=np.int32)
        tables.inputs(0, 0, categories, 0)
        tables.add(0, 0, categories, float(row % 5), 1.0, 0)
    factors.learn(0, 0, 1.0)


if __name__ == "__main__":
    drop_old_caches(PACKAGE)
    warm_up_trainer()
