"""Learns the pre-ranker: a linear softmax over the pool of every positive event.

Letters: `m` items of the pool, `P` inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled
from trainer.step_outcome import StepOutcome, clip_factor

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


class PreRankerLearner:
    """Adam on `log softmax(x w)[target]`, one step a micro-batch.

    Args:
        weights: (P,) changed in place.
        learning_rate: of Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980).
        update_clip: see `trainer.step_outcome.clip_factor`; 0 is off.
    """

    def __init__(self, weights: NDArray[np.float32], learning_rate: float, update_clip: float = 0.0) -> None:
        self.weights = weights
        self._update_clip = update_clip
        self._learning_rate = learning_rate
        self._gradient = np.zeros(len(weights))
        self._lists = 0
        self._first = np.zeros(len(weights))
        self._second = np.zeros(len(weights))
        self._steps = 0

    def add_list(self, inputs: NDArray[np.float32], target: int) -> None:
        """Take the gradient of one pool, (m, P), in which row `target` was wanted."""
        _add_gradient(inputs, self.weights, target, self._gradient)
        self._lists += 1

    def learn_batch(self, rate_factor: float = 1.0) -> StepOutcome:
        """Take a step on the lists added since the last one, unless it would not be finite."""
        if not self._lists:
            return StepOutcome()
        gradient = self._gradient / self._lists
        self._gradient, self._lists = np.zeros_like(self._gradient), 0
        if not np.isfinite(gradient).all():
            batch = {"gradient": gradient, "weights": self.weights.copy()}
            return StepOutcome(f"the gradient of inputs {np.flatnonzero(~np.isfinite(gradient)).tolist()}", batch=batch)
        self._steps += 1
        self._first = _BETA_1 * self._first + (1 - _BETA_1) * gradient
        self._second = _BETA_2 * self._second + (1 - _BETA_2) * gradient**2
        first = self._first / (1 - _BETA_1**self._steps)
        second = self._second / (1 - _BETA_2**self._steps)
        rate = rate_factor * self._learning_rate
        update = (rate * first / (np.sqrt(second) + _EPSILON)).astype(np.float32)
        factor = clip_factor(self.weights, update, self._update_clip) if self._update_clip else 1.0
        self.weights -= update if factor == 1.0 else np.float32(factor) * update
        return StepOutcome(was_clipped=factor < 1.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights and optimiser for a checkpoint, at a batch boundary."""
        return {
            "weights": self.weights.copy(),
            "first": self._first.copy(),
            "second": self._second.copy(),
            "steps": np.array([self._steps]),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self.weights[:] = arrays["weights"]
        self._first, self._second = arrays["first"].copy(), arrays["second"].copy()
        self._steps = int(arrays["steps"][0])


@compiled
def _add_gradient(
    inputs: NDArray[np.float32], weights: NDArray[np.float32], target: int, gradient: NDArray[np.float64]
) -> None:
    """Add `sum_i softmax(x w)_i x_i - x_target`."""
    size = len(inputs)
    scores = np.empty(size)
    highest = -np.inf
    for place in range(size):
        score = 0.0
        for column in range(len(weights)):
            score += inputs[place, column] * weights[column]
        scores[place] = score
        highest = max(highest, score)
    total = 0.0
    for place in range(size):
        scores[place] = np.exp(scores[place] - highest)
        total += scores[place]
    for place in range(size):
        share = scores[place] / total - (1.0 if place == target else 0.0)
        for column in range(len(weights)):
            gradient[column] += share * inputs[place, column]
