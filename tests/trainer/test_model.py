"""The model starts as the hand-weighted score, places new items by content and is rebuilt from a version exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.model import Model, user_vector
from trainer.version_files import VersionError


def _model() -> Model:
    torch.manual_seed(5)
    return Model(embedding_dim=6, num_inputs=9, num_pre_ranker_inputs=5)


def _inputs(size: int = 7) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(size, 9)).astype(np.float32)


def test_untrained_ranker_is_the_pre_ranker() -> None:
    """Linear and output layers start at zero, so the order is that of the last input."""
    np.testing.assert_allclose(np.diff(_model().rank(_inputs())), np.diff(_inputs()[:, -1]), rtol=1e-5)


def test_model_from_dense_scores_alike() -> None:
    """Weights survive the trip through a version's tensors."""
    model = _model()
    torch.nn.init.normal_(model.ranker.output.weight)
    assert np.array_equal(Model.from_dense(model.dense()).rank(_inputs()), model.rank(_inputs()))


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_dense_tensors_of_another_model_are_refused(change: str) -> None:
    """A missing, unknown or misshapen tensor has the reason `dense_tensors`."""
    dense = _model().dense()
    if change == "missing":
        del dense["ranker.output.weight"]
    elif change == "unknown":
        dense["other"] = np.zeros(1, dtype=np.float32)
    else:
        dense["ranker.output.weight"] = np.zeros((1, 3), dtype=np.float32)
    with pytest.raises(VersionError) as caught:
        Model.from_dense(dense)
    assert caught.value.reason == "dense_tensors"


def test_ranking_does_not_change_the_model() -> None:
    """Predicting does not learn, not even the running mean."""
    model = _model()
    before = model.dense()
    model.rank(_inputs())
    assert all(np.array_equal(before[name], tensor) for name, tensor in model.dense().items())


def test_one_user_in_numpy_equals_the_batch_in_torch() -> None:
    """Serving's vector is the one that training learns."""
    model, random = _model(), np.random.default_rng(2)
    torch.nn.init.normal_(model.tower.history_projection.weight)
    torch.nn.init.normal_(model.tower.history_projection.bias)
    row, history = random.normal(size=6).astype(np.float32), random.normal(size=(5, 6)).astype(np.float32)
    outcomes = np.array([1, 0, -1, 1, 0], dtype=np.int8)
    is_used = torch.from_numpy((outcomes >= 0).astype(np.float32))[None]
    weights, has_history = model.tower.history_weights(is_used)
    batch = torch.from_numpy(row) + has_history * model.tower.history_projection(weights @ torch.from_numpy(history))
    vector = user_vector(model.tower.projection(), row, history, outcomes)
    np.testing.assert_allclose(vector, batch[0].detach().numpy(), rtol=1e-5)


def test_cold_user_without_history_has_a_zero_vector() -> None:
    """Nothing known means nothing claimed."""
    projection, nothing = _model().tower.projection(), np.zeros((0, 6), dtype=np.float32)
    vector = user_vector(projection, None, nothing, np.zeros(0, dtype=np.int8))
    assert vector.tolist() == [0.0] * 6


def test_new_item_is_placed_by_its_categories() -> None:
    """An item without a row of its own gets the mean of its categories' rows."""
    rows = torch.tensor([[9.0] * 6, [2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0, 0.0, 0.0]])
    own = torch.stack([torch.ones(6), torch.zeros(6), torch.ones(6)])  # Without categories, with two, without.
    vectors = _model().tower.item_vectors(own, rows, torch.tensor([1, 2]), torch.tensor([0, 0, 2]))
    assert vectors.tolist() == [[1.0] * 6, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0], [1.0] * 6]


def test_running_statistics_equal_numpy() -> None:
    """Folding batches in gives the mean and variance over all rows."""
    ranker, random = _model().ranker, np.random.default_rng(4)
    batches = [random.normal(3.0, 2.0, size=(size, 9)).astype(np.float32) for size in (5, 40, 13)]
    for batch in batches:
        ranker.observe_inputs(torch.from_numpy(batch))
    rows = np.concatenate(batches)
    np.testing.assert_allclose(ranker.input_mean, rows.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(ranker.input_variance, rows.var(axis=0), rtol=1e-4)
