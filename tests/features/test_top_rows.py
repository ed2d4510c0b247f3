"""The largest by keys are the first of a stable sort."""

from __future__ import annotations

import numpy as np
import pytest

from features.top_rows import PLACES, sort_key, top_places


@pytest.mark.parametrize("size", [0, 1, 7, 59, 60, 100])
def test_top_places_are_the_first_of_a_stable_sort(size: int) -> None:
    """With ties, and scores on both sides of zero."""
    scores = np.random.default_rng(size).integers(-6, 6, size=60).astype(np.float32) / 3
    assert top_places(scores, size).tolist() == np.argsort(-scores, kind="stable")[:size].tolist()


@pytest.mark.parametrize("strange", [(), (1e30,), (-1e30, 1e30), (np.inf,), (-np.inf, 3.4e38, -3.4e38), (1e-45,)])
def test_the_largest_of_many_are_the_first_of_a_stable_sort(strange: tuple[float, ...]) -> None:
    """Also where one score lies far from all others, and all of those in one bin."""
    scores = np.random.default_rng(3).normal(size=5000).astype(np.float32).round(2)
    scores[: len(strange)] = strange
    assert top_places(scores, 200).tolist() == np.argsort(-scores, kind="stable")[:200].tolist()


def test_of_equal_scores_the_first_are_the_largest() -> None:
    """A pool that nothing is known of has one score."""
    assert top_places(np.zeros(1000, dtype=np.float32), 3).tolist() == [0, 1, 2]


def test_of_no_scores_there_are_no_places() -> None:
    """An empty pool is a pool."""
    assert top_places(np.zeros(0, dtype=np.float32), 3).tolist() == []


def test_zero_has_one_key() -> None:
    """Minus zero is as large as zero."""
    assert sort_key(-0.0, 3) == sort_key(0.0, 3)


def test_a_key_holds_its_place_whatever_the_score() -> None:
    """Also of what is no number: a place must never lie outside of its list."""
    scores = (np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1e-45)
    assert [int(sort_key(score, 7)) & PLACES for score in scores] == [7] * len(scores)
