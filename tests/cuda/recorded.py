"""Batches for a machine that has nothing but torch: a recording, or seeded ones of the same shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.learner import Learner
from trainer.loss import CHANGED_LABEL, FIRST_LABEL, TRUSTED_LABEL
from trainer.ranker_learner import LabelledList, ListBatch
from trainer.recorded_batches import RecordedBatches, read_batches
from trainer.step_config import StepConfig
from trainer.tower_learner import TowerBatch

NUM_INPUTS = 60


def batches(path: Path | None, count: int = 12) -> RecordedBatches:
    """Read a recording, or draw `count` batches of each kind."""
    if path is not None:
        return read_batches(path)
    random = np.random.default_rng(11)
    return RecordedBatches([_lists(random) for _ in range(count)], [_positives(random) for _ in range(count)])


def learner_for(recorded: RecordedBatches, device: str, config: StepConfig | None = None) -> Learner:
    """Make a learner whose tables hold every row that the batches name."""
    learner = Learner(config or StepConfig(replay_rows=5000), recorded.num_inputs, 8, device)
    for table, size in zip(learner.tower.tables().values(), recorded.num_rows, strict=True):
        table.rows_of([f"id-{number}" for number in range(size)], add=True)
    return learner


def learn(learner: Learner, recorded: RecordedBatches, first: int = 0, end: int | None = None) -> list[bool]:
    """Take the steps `first` to `end`; say of each whether it was taken."""
    pairs = list(zip(recorded.lists, recorded.towers, strict=False))[first:end]
    taken = []
    for step, (lists, positives) in enumerate(pairs, first + 1):
        outcomes = learner.learn_lists(lists, step), learner.learn_positives(positives)
        taken += [outcome.is_taken for outcome in outcomes]
    return taken


def _lists(random: np.random.Generator, lists: int = 16, size: int = 20) -> ListBatch:
    """Lists on which the first input says what is wanted, some of it noise."""
    drawn = []
    for _ in range(lists):
        inputs = random.standard_normal((size, NUM_INPUTS), dtype=np.float32)
        labels = (inputs[:, 0] + random.gumbel(size=size) > 2.0).astype(np.float32)
        first = np.where(labels > 0, CHANGED_LABEL, FIRST_LABEL)
        kinds = np.where(random.random(size) < 0.5, first, TRUSTED_LABEL).astype(np.int8)
        is_served = bool(random.random() < 0.5)
        positions = np.arange(size) if is_served else np.full(size, -1)
        weights, heads = np.ones(size, dtype=np.float32), (labels.astype(np.int8)[:, None], kinds[:, None])
        copies = np.ones(size, dtype=np.float32) if is_served else random.integers(1, 4, size).astype(np.float32)
        drawn.append(LabelledList(inputs, labels, weights, kinds, positions, is_served, *heads, copies))
    return ListBatch.of_lists(drawn)


def _positives(random: np.random.Generator, size: int = 16, users: int = 50, items: int = 400) -> TowerBatch:
    targets, drawn = random.integers(items, size=size), random.integers(items, size=128)
    candidates = np.unique(np.concatenate([targets, drawn]))
    history = random.integers(-1, items, size=(size, 20))
    touched = np.unique(np.concatenate([candidates, history[history >= 0]]))
    return TowerBatch(
        users=random.integers(-1, users, size=size),
        targets=targets,
        candidates=candidates,
        log_q=np.full(len(candidates), np.log(0.3), dtype=np.float32),
        history=history,
        outcomes=random.integers(-1, 2, size=(size, 20)).astype(np.int8),
        touched=touched,
        # A function of the item, as in a catalogue.
        categories=np.stack([touched % 9, np.where(touched % 3 > 0, touched % 7, -1)], axis=1),
    )
