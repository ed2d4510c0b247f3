"""The pre-ranker learns which of a pool is wanted."""

from __future__ import annotations

import numpy as np
import torch

from trainer.pre_ranker_learner import PreRankerLearner


def pools(seed: int, num: int) -> list[tuple[np.ndarray[tuple[int, int], np.dtype[np.float32]], int]]:
    """Pools of 30 whose target has the largest first input."""
    random = np.random.default_rng(seed)
    made = [random.normal(size=(30, 3)).astype(np.float32) for _ in range(num)]
    return [(pool, int(pool[:, 0].argmax())) for pool in made]


def test_a_step_is_ftrl_on_the_gradient_of_torch() -> None:
    """The softmax and its gradient are the usual ones; each weight moves by its own sum of squares."""
    learner = PreRankerLearner(np.zeros(3, dtype=np.float32), 0.1)
    weights, squares = torch.zeros(3, requires_grad=True), torch.zeros(3)
    for batch in (pools(1, 4), pools(2, 5)):
        losses = [-torch.log_softmax(torch.from_numpy(pool) @ weights, 0)[target] for pool, target in batch]
        weights.grad = None
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        assert weights.grad is not None
        with torch.no_grad():
            squares = 0.999 * squares + weights.grad**2
            weights -= 0.1 * weights.grad / (1.0 + squares.sqrt())
        for pool, target in batch:
            learner.add_list(pool, target)
        assert learner.learn_batch().is_taken
        np.testing.assert_allclose(learner.weights, weights.detach().numpy(), rtol=1e-4)


def test_it_finds_what_is_wanted() -> None:
    """The input that tells targets apart gains weight."""
    learner = PreRankerLearner(np.zeros(3, dtype=np.float32), 0.3)
    for seed in range(50):
        for pool, target in pools(seed, 4):
            learner.add_list(pool, target)
        learner.learn_batch()
    assert learner.weights[0] > 5 * abs(learner.weights[1:]).max()


def test_a_step_that_is_not_finite_is_not_taken() -> None:
    """And leaves nothing behind for the next."""
    learner = PreRankerLearner(np.ones(3, dtype=np.float32), 0.01)
    learner.add_list(np.full((2, 3), np.nan, dtype=np.float32), 0)
    assert not learner.learn_batch().is_taken
    assert learner.weights.tolist() == [1.0, 1.0, 1.0]
    assert learner.learn_batch().is_taken


def test_a_restored_learner_goes_on_alike() -> None:
    """Weights and sums of squares are the state."""
    first, second = (PreRankerLearner(np.zeros(3, dtype=np.float32), 0.01) for _ in range(2))
    for learner in (first, second):
        for pool, target in pools(1, 3):
            first.add_list(pool, target)
        first.learn_batch()
        second.restore(first.arrays())
        del learner
    for pool, target in pools(2, 3):
        first.add_list(pool, target)
        second.add_list(pool, target)
    first.learn_batch()
    second.learn_batch()
    assert first.weights.tolist() == second.weights.tolist()
