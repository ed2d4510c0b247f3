"""What stood on top was looked at more: places take that up in training, and the ranker learns what is good."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.loss import TRUSTED_LABEL, UNTOLD
from trainer.model import MAX_POSITIONS, Model, PositionBias
from trainer.ranker_learner import ListBatch, RankerLearner
from trainer.step_config import StepConfig

SIZE, LISTS = 10, 16
LOOKED_AT = 1.0 / (1.0 + np.arange(SIZE))
"""How likely a place is looked at; only what is looked at is clicked."""


def shown_lists(random: np.random.Generator) -> ListBatch:
    """Lists in the order of input 0, which says nothing of what is good: input 1 does."""
    rows = random.normal(size=(LISTS, SIZE, 3)).astype(np.float32)
    order = np.argsort(-rows[:, :, 0], axis=1)
    rows = np.take_along_axis(rows, order[:, :, None], axis=1)
    good = 1.0 / (1.0 + np.exp(-2.0 * rows[:, :, 1]))
    labels = (random.random((LISTS, SIZE)) < good * LOOKED_AT).astype(np.float32).reshape(-1)
    count = LISTS * SIZE
    return ListBatch(
        inputs=rows.reshape(count, 3),
        labels=labels,
        weights=np.ones(count, dtype=np.float32),
        kinds=np.full(count, TRUSTED_LABEL, dtype=np.int8),
        positions=np.tile(np.arange(SIZE), LISTS),
        list_of=np.repeat(np.arange(LISTS), SIZE),
        is_served=np.ones(LISTS, dtype=np.bool_),
        head_labels=np.full((count, 1), UNTOLD, dtype=np.int8),
        head_kinds=np.full((count, 1), TRUSTED_LABEL, dtype=np.int8),
        copies=np.ones(count, dtype=np.float32),
    )


def new_learner(config: StepConfig) -> RankerLearner:
    """A ranker of three inputs that has learnt nothing."""
    model = Model(embedding_dim=2, num_inputs=3, num_pre_ranker_inputs=1)
    return RankerLearner(model.ranker, model.heads, config, "cpu")


def learnt(has_bias: bool) -> RankerLearner:
    """A ranker after 800 batches of such lists."""
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    learner = new_learner(StepConfig(replay_rows=20_000, learns_position_bias=has_bias))
    for step in range(800):
        learner.learn_batch(shown_lists(random), step)
    return learner


def effect(learner: RankerLearner, column: int) -> float:
    """How much more an item is worth whose input stands at 1 in place of -1, all others at 0."""
    rows: NDArray[np.float32] = np.zeros((2, 3), dtype=np.float32)
    rows[:, column] = (1.0, -1.0)
    high, low = learner.predict(rows)
    return float(high - low)


@pytest.mark.timeout(300)
def test_what_stood_on_top_is_not_taken_for_good() -> None:
    """With the bias input 0 counts for little; without it, it looks as good as what is good."""
    with_bias, without = learnt(True), learnt(False)
    assert effect(without, 0) > 1.0
    assert effect(with_bias, 0) < 0.35 * effect(without, 0)
    assert effect(with_bias, 1) > 2.0
    assert (np.diff(with_bias.position_bias.bias.detach().numpy()[:4]) < 0).all()


def test_the_ranker_alone_is_calibrated_for_an_average_place() -> None:
    """The bias adds nothing on the average over the places seen."""
    bias = PositionBias()
    positions = torch.tensor([0, 0, 0, 1, 5])
    bias.observe_positions(positions)
    torch.nn.init.normal_(bias.bias)
    assert bias(positions).mean().item() == pytest.approx(0.0, abs=1e-6)


def test_a_row_without_a_place_gets_nothing() -> None:
    """Organic lists were not shown; places beyond the last share its bias."""
    bias = PositionBias()
    torch.nn.init.normal_(bias.bias)
    added = bias(torch.tensor([-1, MAX_POSITIONS - 1, 500]))
    assert added[0] == 0.0
    assert added[1] == added[2] != 0.0


def test_it_is_learnt_on_after_a_restart() -> None:
    """Bias and places seen are part of the state."""
    random = np.random.default_rng(2)
    first, second = (new_learner(StepConfig()) for _ in range(2))
    for step in range(5):
        first.learn_batch(shown_lists(random), step)
    second.restore(first.arrays())
    for name, tensor in first.position_bias.state_dict().items():
        assert torch.equal(second.position_bias.state_dict()[name], tensor)
