"""One worker of a group: `python tests/trainer/worker_steps.py RANK SIZE MEETING OUT`; see test_worker_group.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import distributed

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(Path(__file__).parents[2]))

from trainer.learner import Learner
from trainer.loss import TRUSTED_LABEL
from trainer.ranker_learner import LabelledList, ListBatch
from trainer.step_config import StepConfig
from trainer.tower_learner import TowerBatch
from trainer.worker_group import WorkerGroup

STEPS = 20
BAD_STEP = 7
"""At which the last worker's list batch is not finite."""
USERS, ITEMS, CATEGORIES, NUM_INPUTS = 15, 30, 4, 12


def main(rank: int, size: int, meeting: Path, out: Path) -> None:
    """Take every step on this worker's batches, and write what came of it."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    learner = make_learner(WorkerGroup())
    taken = []
    for step in range(1, STEPS + 1):
        lists = list_batch(rank, step, is_bad=step == BAD_STEP and rank == size - 1)
        taken.append(learner.learn_lists(lists, step).is_taken)
        taken.append(learner.learn_positives(tower_batch(rank, step)).is_taken)
    save_file(learner.arrays() | {"taken": np.array(taken)}, out)
    distributed.destroy_process_group()


def make_learner(workers: WorkerGroup | None) -> Learner:
    """Make a learner that has every row."""
    learner = Learner(StepConfig(embedding_dim=4, replay_rows=0), NUM_INPUTS, 1, workers=workers)
    for table, size in zip(learner.tower.tables().values(), (USERS, ITEMS, CATEGORIES), strict=True):
        table.rows_of([f"id-{number}" for number in range(size)], add=True)
    return learner


def list_batch(rank: int, step: int, is_bad: bool = False) -> ListBatch:
    """Draw lists of which each has a positive, so that losses of batches laid end to end are the mean of theirs."""
    random, lists = np.random.default_rng((1, rank, step)), []
    for _ in range(6):
        inputs = random.standard_normal((5, NUM_INPUTS), dtype=np.float32)
        labels = np.zeros(5, dtype=np.float32)
        labels[inputs[:, 0].argmax()] = 1.0
        weights = np.full(5, np.nan if is_bad else 1.0, dtype=np.float32)
        kinds, positions = np.full(5, TRUSTED_LABEL, dtype=np.int8), random.permutation(5)
        heads = labels.astype(np.int8)[:, None], kinds[:, None]
        copies = np.ones(5, dtype=np.float32)
        lists.append(LabelledList(inputs, labels, weights, kinds, positions, True, *heads, copies))
    return ListBatch.of_lists(lists)


def tower_batch(*ranks_and_step: int) -> TowerBatch:
    """Draw positives of one worker, or of several laid end to end: the last number is the step."""
    *ranks, step = ranks_and_step
    draws = [np.random.default_rng((2, rank, step)) for rank in ranks]
    every = np.arange(ITEMS)
    return TowerBatch(
        users=np.concatenate([random.integers(USERS, size=8) for random in draws]),
        targets=np.concatenate([random.integers(ITEMS, size=8) for random in draws]),
        candidates=every,
        log_q=np.zeros(ITEMS, dtype=np.float32),
        history=np.concatenate([random.integers(-1, ITEMS, size=(8, 3)) for random in draws]),
        outcomes=np.concatenate([random.integers(-1, 2, size=(8, 3)) for random in draws]).astype(np.int8),
        touched=every,
        categories=(every % CATEGORIES).reshape(-1, 1),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
