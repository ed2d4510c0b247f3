"""A step that would not be finite is not taken, one that would be too large is made smaller, any other is untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.learner import Learner
from trainer.ranker_learner import LabelledList, ListBatch
from trainer.step_config import StepConfig

_INPUTS = 6


def lists(size: int, seed: int, flip: bool = False) -> ListBatch:
    """Lists of five whose first input says which item was wanted; the labels of a burst say the opposite."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(size):
        rows = random.normal(size=(5, _INPUTS)).astype(np.float32)
        labels = (rows[:, 0] > 0).astype(np.float32)
        wanted = 1 - labels if flip else labels
        weights, kinds = np.ones(5, dtype=np.float32), np.zeros(5, dtype=np.int8)
        heads = wanted.astype(np.int8)[:, None], kinds[:, None]
        found.append(
            LabelledList(rows, wanted, weights, kinds, np.arange(5), True, *heads, np.ones(5, dtype=np.float32))
        )
    return ListBatch.of_lists(found)


def learner_of(**changes: float) -> Learner:
    """A small learner without replay."""
    return Learner(StepConfig(embedding_dim=4, replay_rows=0, **changes), _INPUTS, 2)  # type: ignore[arg-type]


def weights_of(learner: Learner) -> torch.Tensor:
    """All of the ranker's weights as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in learner.model.ranker.parameters()])


def test_normal_steps_are_those_of_adam_bit_for_bit() -> None:
    """The guard is no part of the model: with the shipped bound and without one the weights are the same."""
    guarded, plain = learner_of(), learner_of(update_clip=0.0)
    for step in range(1, 40):
        batch = lists(8, step)
        assert not guarded.learn_lists(batch, step).was_clipped
        plain.learn_lists(batch, step)
    assert weights_of(guarded).equal(weights_of(plain))


def test_no_weight_moves_further_than_its_room_in_a_burst_of_flipped_labels_at_a_hundred_times_the_rate() -> None:
    """The bound holds coordinate by coordinate, and clipped steps say so."""
    learner = learner_of(learning_rate=0.2)
    for step in range(1, 30):
        before = weights_of(learner)
        outcome = learner.learn_lists(lists(8, step, flip=step > 15), step)
        room = 0.5 * before.abs() + 0.02
        assert bool(((weights_of(learner) - before).abs() <= 1.001 * room).all())
        assert outcome.was_clipped


def test_burst_costs_a_clipped_learner_less() -> None:
    """Five steps of flipped labels at a hundred times the rate: log loss on the true ones is lower with the clip."""
    losses = {}
    for bound in (0.02, 0.0):
        learner = learner_of(update_clip=bound)
        for step in range(1, 100):
            is_burst = step > 94
            learner.learn_lists(lists(8, step, flip=is_burst), step, rate_factor=100.0 if is_burst else 1.0)
        truth = lists(200, seed=999)
        scores = learner.ranker.predict(truth.inputs).astype(np.float64)
        losses[bound] = float(np.logaddexp(0.0, np.where(truth.labels > 0, -scores, scores)).mean())
    assert losses[0.02] < 0.7 * losses[0.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_step_on_numbers_that_are_not_finite_is_refused_with_its_batch(bad: float) -> None:
    """Weights stay; the outcome holds the arrays and names what ran away."""
    learner = learner_of()
    batch = lists(3, seed=1)
    batch.weights[4] = bad
    before = weights_of(learner)
    outcome = learner.learn_lists(batch, step=1)
    assert not outcome.is_taken
    assert outcome.refusal.startswith("the loss is")
    assert outcome.batch["inputs"].shape == (15, _INPUTS)
    assert weights_of(learner).equal(before)
