"""The ranker of a version in numpy: what `trainer.model.Ranker` says of 200 candidates in a quarter of the time.

On lists this short torch spends most of its time between its operators. Every version's canary is scored by this code
before it serves, so it cannot drift from the trainer's.
Letters: `n` candidates, `F` ranker inputs, `H` hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trainer.input_scaling import INPUT_CLIP, VARIANCE_FLOOR


class NumpyRanker:
    """Scores candidates.

    Args:
        dense: the weights of a version, as `Model.from_dense` takes them.
    """

    def __init__(self, dense: Mapping[str, NDArray[np.float32]]) -> None:
        self._mean = dense["ranker.input_mean"]
        self._scale = (1.0 / np.sqrt(dense["ranker.input_variance"] + np.float32(VARIANCE_FLOOR))).astype(np.float32)
        self._layers = [
            (np.ascontiguousarray(dense[f"ranker.{name}.weight"].T), dense[f"ranker.{name}.bias"])
            for name in ("hidden_1", "hidden_2")
        ]
        self._linear = np.ascontiguousarray(dense["ranker.linear.weight"][0])
        self._output = np.ascontiguousarray(dense["ranker.output.weight"][0])
        self._skip_scale, self._bias = dense["ranker.skip_scale"], dense["ranker.bias"]

    def rank(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of a positive; (n, F) -> (n,)."""
        scaled = inputs - self._mean
        scaled *= self._scale
        np.maximum(scaled, -INPUT_CLIP, out=scaled)  # numpy's clip of the same takes three times as long.
        np.minimum(scaled, INPUT_CLIP, out=scaled)
        hidden = scaled
        for weights, bias in self._layers:
            hidden = hidden @ weights  # (n, H)
            hidden += bias
            np.maximum(hidden, 0.0, out=hidden)
        scores: NDArray[np.float32] = scaled @ self._linear  # (n,)
        scores += hidden @ self._output
        scores += self._skip_scale * inputs[:, -1] + self._bias
        return scores
