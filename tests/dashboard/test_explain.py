"""What carried an item is what its score loses without it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from compose.dashboard.explain import explain, group_of_inputs
from features.model_inputs import ranker_input_names
from serving.numpy_ranker import NumpyRanker
from tests.serving.serving_parts import APP, make_version
from tests.trainer.test_version_delta import image_of, make_delta
from trainer.version_delta import encode_delta

NAMES = ranker_input_names(APP.features)


def dense() -> dict[str, NDArray[np.float32]]:
    """Weights of a ranker whose every tensor says something."""
    random = np.random.default_rng(3)
    weights = {
        name: np.asarray(random.normal(size=tensor.shape), dtype=np.float32)
        for name, tensor in make_version("1.1").dense.items()
    }
    weights["ranker.input_variance"] = np.abs(weights["ranker.input_variance"])
    return weights


def payload_of(weights: dict[str, NDArray[np.float32]]) -> bytes:
    """The delta that brings these weights."""
    return encode_delta(dataclasses.replace(make_delta(image_of()), dense=weights))


def test_a_contribution_is_what_the_score_loses_without_the_group() -> None:
    """And the scores made again are those that were served."""
    weights = dense()
    rows = np.random.default_rng(5).normal(size=(3, len(NAMES))).astype(np.float32)
    scores = NumpyRanker(weights).rank(rows.copy())
    found = explain(payload_of(weights), rows, scores.tolist(), APP.features)
    assert found is not None
    assert found.is_exact
    group = found.groups.index("learnt taste (vectors)")
    without = rows.copy()
    column = NAMES.index("tower_score")
    without[:, column] = weights["ranker.input_mean"][column]
    assert found.contributions[:, group] == pytest.approx(scores - NumpyRanker(weights).rank(without), abs=1e-5)


def test_other_scores_than_the_served_ones_are_said() -> None:
    """Rules, or other weights, made the difference."""
    rows = np.zeros((2, len(NAMES)), dtype=np.float32)
    found = explain(payload_of(dense()), rows, [99.0, 99.0], APP.features)
    assert found is not None
    assert not found.is_exact


def test_rows_of_another_schema_are_not_explained() -> None:
    """A list without a model has no inputs either."""
    assert explain(payload_of(dense()), np.zeros((2, 3), dtype=np.float32), [0.0, 0.0], APP.features) is None


def test_every_input_belongs_to_a_group_that_people_know() -> None:
    """A new input must be given one."""
    groups = group_of_inputs(APP.features)
    assert len(groups) == len(NAMES)
    assert [name for name, group in zip(NAMES, groups, strict=True) if group == "other"] == []
