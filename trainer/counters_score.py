"""What counters alone say of the items of a list: the fixed score that a model must not be worse than.

`.9 P(item given the newest 20) + .1 decayed popularity`: no weight of it is learnt, so nothing that goes wrong with
learning goes wrong with it. Both parts are read from the ranker's inputs, so it costs a few operations a list.
Letters: `n` items, `F` ranker inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.model_inputs import ranker_input_names, share_of_log

VISIT_SHARE = 0.9


class CountersScore:
    """The score by the columns of the ranker's inputs.

    Args:
        features: name the columns.
    """

    def __init__(self, features: FeaturesConfig) -> None:
        names = ranker_input_names(features)
        self._visits = names.index("co_visitation_last_20")
        self._shares = [place for place, name in enumerate(names) if name.startswith("item_share_decay_")]

    def of(self, inputs: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return a score an item, higher is better; (n, F) -> (n,)."""
        visits, shares = share_of_log(inputs[:, self._visits]), share_of_log(inputs[:, self._shares])
        score: NDArray[np.float32] = (VISIT_SHARE * visits + (1.0 - VISIT_SHARE) * shares.mean(axis=1)).astype(
            np.float32
        )
        return score
