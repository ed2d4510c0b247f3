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

_BETA = 1.0
_MEMORY = 0.999
"""Of a step's squared gradient a step later: a sum of all of them would freeze the weights of a stream that changes."""


class PreRankerLearner:
    """FTRL-proximal on `log softmax(x w)[target]`, one step a micro-batch.

    Every weight takes steps of its own size, large where little was said of it yet; Adam moves all by one size, so that
    an input of rare worth, such as a title, is on its way for as long as one of common worth. McMahan et al. 2013, "Ad
    click prediction: a view from the trenches", https://doi.org/10.1145/2487575.2488200, without L1 and L2, where its
    closed form is `w -= alpha g / (beta + sqrt(n))` with `n = sum g^2`, here with squares that are slowly forgotten.

    Args:
        weights: (P,) changed in place.
        learning_rate: alpha.
        update_clip: see `trainer.step_outcome.clip_factor`; 0 is off.
    """

    def __init__(self, weights: NDArray[np.float32], learning_rate: float, update_clip: float = 0.0) -> None:
        self.weights = weights
        self._update_clip = update_clip
        self._learning_rate = learning_rate
        self._gradient = np.zeros(len(weights))
        self._lists = 0
        self._squares = np.zeros(len(weights))

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
        rate = rate_factor * self._learning_rate
        self._squares = _MEMORY * self._squares + gradient**2
        update = (rate * gradient / (_BETA + np.sqrt(self._squares))).astype(np.float32)
        factor = clip_factor(self.weights, update, self._update_clip) if self._update_clip else 1.0
        self.weights -= update if factor == 1.0 else np.float32(factor) * update
        return StepOutcome(was_clipped=factor < 1.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights and optimiser for a checkpoint, at a batch boundary."""
        return {"weights": self.weights.copy(), "squares": self._squares.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self.weights[:] = arrays["weights"]
        self._squares = arrays["squares"].copy()


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
