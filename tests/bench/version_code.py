"""What the tensors of version `n` hold, and the scores that a whole version gives: the oracle of swaps.

Every part of a score is brought to a fixed value by a weight that undoes what the tensors of the same version hold:
rows of items and users, the tower's projection, co-visitation, successors, titles, times of events, every layer of the
ranker. A score is right only where all of them are of one version; the bias says of which. No score holds the heads,
the organic bias, the count of inputs and the pre-ranker, which only chooses candidates; their numbers change all the
same. Users have one item in their history, the first.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.model_inputs import log_share, log_similarity
from trainer.model_version import ModelVersion

USERS = ("ann", "bob", "cem")
TOLERANCE = 2e-3
"""Scores are float32 sums, and ages grow by a moment; a number of another version moves a score by ten times that."""
SCALE = 1.0 / np.sqrt(1.0 + 1e-4)
"""Of inputs with mean 0 and variance 1, as the ranker scales them."""
NUM_TITLED, NUM_TOPICS = 257, 3
PAIR, NEXT, TITLE, AGE = 0.5, 0.25, 0.125, 0.2
"""What each part adds to the score."""


class VersionCode:
    """The numbers that the tensors of version `n` hold."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.bias = 4.0 * (n % 50)
        self.in_items = 0.5 + 0.125 * (n % 7)
        self.tower_score = 1.0 + 0.375 * (n % 9)
        self.projection, self.projection_bias = 0.05 * (1 + n % 4), 0.1 * (1 + n % 5)
        self.tower_mean, self.tower_variance = 0.1 * (n % 3), 1.0 + n % 4
        self.pair_chance, self.pair_total = 0.2 + 0.1 * (n % 5), 2.0 + n % 6
        self.next_chance, self.next_total = 0.3 + 0.1 * (n % 4), 3.0 + n % 5
        self.pairs = range(1 + 64 * (n % 2), 129 + 64 * (n % 2))
        self.successors = range(1 + 32 * (n % 3), 65 + 32 * (n % 3))
        self.topic = n % NUM_TOPICS
        self.title_weight = TITLE * (1 + n % 2)
        self.known_h, self.idle_h = 20 * (1 + n % 4), 10 * (1 + n % 3)
        self.hidden_1, self.hidden_2, self.hidden_bias = 0.5 + 0.25 * (n % 6), 1.0 + 0.5 * (n % 5), 0.1 * (n % 3)

    @property
    def in_users(self) -> float:
        """What stands in a user's row, so that row and projected history meet items at the tower score."""
        return self.tower_score / self.in_items - (self.projection * self.in_items + self.projection_bias)

    def score_of(self, row: int) -> float:
        """Return the score of an item by its row; those behind the first items are all alike."""
        pair, after = log_share(self.pair_chance), log_share(self.next_chance)
        score = self.bias + 2.0 + 2.0 * AGE  # The tower's and the hidden layers' parts are 1 each.
        score += PAIR if row in self.pairs else PAIR * log_share(0.0) / pair
        score += NEXT if row in self.successors else NEXT * log_share(0.0) / after
        is_like = row < NUM_TITLED and row % NUM_TOPICS == self.topic
        return float(score + self.title_weight * SCALE * log_similarity(1.0 if is_like else 0.0))


def is_of_one_version(version: str, scores: Mapping[int, float]) -> bool:
    """Say whether the scores of items, by row, are those of a version that is whole.

    Args:
        version: that the answer names.
        scores: by row.
    """
    code = VersionCode(ModelVersion.parse(version).seq)
    return bool(scores) and all(abs(score - code.score_of(row)) < TOLERANCE for row, score in scores.items())


def row_of(item_id: str) -> int:
    """Return the row of an item."""
    return int(item_id.rpartition("-")[2])
