"""Keeps the batches that a learner's weights are given, and the time that its steps take."""

from __future__ import annotations

import time

from trainer.learner import Learner
from trainer.ranker_learner import ListBatch
from trainer.recorded_batches import RecordedBatches
from trainer.step_outcome import StepOutcome
from trainer.tower_learner import TowerBatch


class Recorder:
    """Takes the place of a learner's two steps, and keeps what they are given.

    Args:
        learner: whose steps are taken as before.
    """

    def __init__(self, learner: Learner) -> None:
        self.lists: list[ListBatch] = []
        self.towers: list[TowerBatch] = []
        self.spent_s = 0.0
        """Inside the steps."""
        self._learn_lists, self._learn_positives = learner.learn_lists, learner.learn_positives
        learner.learn_lists = self.learn_lists  # type: ignore[method-assign]
        learner.learn_positives = self.learn_positives  # type: ignore[method-assign]

    def learn_lists(self, batch: ListBatch, step: int, rate_factor: float = 1.0) -> StepOutcome:
        """Keep and learn."""
        self.lists.append(batch)
        began_s = time.perf_counter()
        outcome = self._learn_lists(batch, step, rate_factor)
        self.spent_s += time.perf_counter() - began_s
        return outcome

    def learn_positives(self, batch: TowerBatch) -> StepOutcome:
        """Keep and learn."""
        self.towers.append(batch)
        began_s = time.perf_counter()
        outcome = self._learn_positives(batch)
        self.spent_s += time.perf_counter() - began_s
        return outcome

    def newest(self, count: int) -> RecordedBatches:
        """Return the last batches of each kind."""
        return RecordedBatches(self.lists[-count:], self.towers[-count:])
