"""A reversal planted before the ranker: users who wanted what is popular want what is not, from one moment on.

Counters that follow by themselves would hide what the weights do, so the lists are made-up inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trainer.config import DriftConfig
from trainer.drift import DriftMonitor
from trainer.loss import TRUSTED_LABEL, UNTOLD
from trainer.measures.curve import auc
from trainer.model import Model
from trainer.ranker_learner import ListBatch, RankerLearner
from trainer.step_config import StepConfig

LISTS, ITEMS, INPUTS = 8, 10, 8
"""Of a micro-batch, of a list, of an item."""
REVERSAL, STEPS = 700, 1500
"""Micro-batches before the reversal, and at most in all."""
RECOVERED, JUDGED = 0.8, 10
"""The area under the curve that says so, over so many micro-batches."""

SAMPLES_GOAL = 600
"""Lists learnt within which a learner with drift handling must be back."""


@dataclass(frozen=True)
class Recovery:
    """How a learner came through."""

    batches: int
    """Micro-batches from the reversal to recovery; up to the end where there was none."""
    early_alarms: int
    """Before there was anything to notice."""

    @property
    def samples(self) -> int:
        """Lists learnt until then."""
        return LISTS * self.batches


def recover(has_policy: bool, seed: int) -> Recovery:
    """Learn until the reversal and on until the area is back, with or without drift handling."""
    torch.manual_seed(seed)
    model = Model(embedding_dim=2, num_inputs=INPUTS, num_pre_ranker_inputs=1)
    learner = RankerLearner(model.ranker, model.heads, StepConfig(replay_rows=20_000), "cpu")
    monitor, random = DriftMonitor(DriftConfig(is_enabled=has_policy)), np.random.default_rng(seed)
    areas: list[float] = []
    early_alarms = 0
    for step in range(STEPS):
        batch = _lists(random, sign=1.0 if step < REVERSAL else -1.0)
        logits = learner.predict(batch.inputs)
        loss = float(np.logaddexp(0.0, np.where(batch.labels > 0, -logits, logits)).mean())
        monitor.observe(loss, float(batch.labels.mean()), step)
        early_alarms += monitor.status.is_alarm and step < REVERSAL
        learner.learn_batch(batch, step, monitor.rate_factor(step))
        areas.append(auc(logits, batch.labels) or 0.5)
        if step > REVERSAL + JUDGED and np.mean(areas[-JUDGED:]) > RECOVERED:
            return Recovery(step - REVERSAL, early_alarms)
    return Recovery(STEPS - REVERSAL, early_alarms)


def _lists(random: np.random.Generator, sign: float) -> ListBatch:
    """Lists on which users want what is popular (input 0), or with `sign` -1 what is not."""
    rows = random.normal(size=(LISTS, ITEMS, INPUTS)).astype(np.float32)
    wanted = (sign * 2.0 * rows[:, :, 0] + random.gumbel(size=(LISTS, ITEMS))).argmax(axis=1)
    labels = np.zeros((LISTS, ITEMS), dtype=np.float32)
    labels[np.arange(LISTS), wanted] = 1.0
    count = LISTS * ITEMS
    return ListBatch(
        inputs=rows.reshape(count, INPUTS),
        labels=labels.reshape(-1),
        weights=np.ones(count, dtype=np.float32),
        kinds=np.full(count, TRUSTED_LABEL, dtype=np.int8),
        positions=np.full(count, -1, dtype=np.int64),
        list_of=np.repeat(np.arange(LISTS), ITEMS),
        is_served=np.ones(LISTS, dtype=np.bool_),
        head_labels=np.full((count, 1), UNTOLD, dtype=np.int8),
        head_kinds=np.full((count, 1), TRUSTED_LABEL, dtype=np.int8),
        copies=np.ones(count, dtype=np.float32),
    )
