"""The weights' learner: ranker and tower, one step each on arrays.

Knows no ids, samples or topics and imports torch and numpy only, so that it runs on a bare GPU machine.
What turns samples into these arrays is `trainer.online_learner`.
Letters: `F` ranker inputs, `P` inputs of the pre-ranker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from trainer.device import prepare_device
from trainer.model import Model
from trainer.named_arrays import with_prefix
from trainer.ranker_learner import ListBatch, RankerLearner
from trainer.step_config import StepConfig
from trainer.step_outcome import StepOutcome
from trainer.tower_learner import TowerBatch, TowerLearner
from trainer.worker_group import WorkerGroup


class Learner:
    """A model, its embedding rows and their optimisers on one device.

    Args:
        config: rates and sizes; its seed makes the initial weights.
        num_inputs: F.
        num_pre_ranker_inputs: P; those weights are carried, not learnt here.
        device: `cpu` or `cuda`.
        workers: who takes each step together with this one, each on batches of its own; nobody by default. All must
            begin with the same weights and rows, and take as many steps.
    """

    def __init__(
        self,
        config: StepConfig,
        num_inputs: int,
        num_pre_ranker_inputs: int,
        device: str = "cpu",
        workers: WorkerGroup | None = None,
    ) -> None:
        prepare_device(device)
        torch.manual_seed(config.seed)
        self.model = Model(config.embedding_dim, num_inputs, num_pre_ranker_inputs, config.head_scales).to(device)
        self.ranker = RankerLearner(self.model.ranker, self.model.heads, config, device, workers)
        self.tower = TowerLearner(self.model.tower, config, device, workers)

    def learn_lists(self, batch: ListBatch, step: int, rate_factor: float = 1.0) -> StepOutcome:
        """Take the ranker's step `step`."""
        return self.ranker.learn_batch(batch, step, rate_factor)

    def learn_positives(self, batch: TowerBatch) -> StepOutcome:
        """Take a step of the tower."""
        return self.tower.learn_batch(batch)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return a copy of all weights, rows and optimisers; ids of the rows are `tower.names()`."""
        parts = {"model": self.model.dense(), "ranker": self.ranker.arrays(), "tower": self.tower.arrays()}
        return {f"{part}/{name}": array for part, content in parts.items() for name, array in content.items()}

    def restore(self, names: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over `tower.names()` and what `arrays` returned: from here on both learners learn alike."""
        dense = {name: torch.from_numpy(array.copy()) for name, array in with_prefix(arrays, "model/").items()}
        self.model.load_state_dict(dense)
        self.ranker.restore(with_prefix(arrays, "ranker/"))
        self.tower.restore(names, with_prefix(arrays, "tower/"))
