"""The ranker in numpy says what the trainer's says."""

from __future__ import annotations

import numpy as np
import pytest

from serving.numpy_ranker import NumpyRanker
from tests.serving.serving_parts import make_version
from trainer.model import Model


@pytest.mark.parametrize("num_candidates", [0, 1, 200])
def test_scores_equal_those_of_torch(num_candidates: int) -> None:
    """With random weights in every tensor, inputs far outside the clip among them."""
    random = np.random.default_rng(3)
    dense = {
        name: np.asarray(random.normal(size=tensor.shape), dtype=np.float32)
        for name, tensor in make_version("1.1").dense.items()
    }
    dense["ranker.input_variance"] = np.abs(dense["ranker.input_variance"])
    inputs = (10.0 * random.normal(size=(num_candidates, len(dense["ranker.input_mean"])))).astype(np.float32)
    scores = NumpyRanker(dense).rank(inputs)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(Model.from_dense(dense).rank(inputs), rel=1e-4, abs=1e-3)
