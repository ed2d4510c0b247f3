"""What the pool's loops choose is what plain numpy chooses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.candidate_pool import Workspace, cut_pool
from features.item_summary import most_popular
from features.model_inputs import fill_ranks
from features.title_index import rarity, rarity_table


def cut(scores: list[float], total: int, newest: list[int], num_newest: int) -> list[int]:
    """Cut a pool whose rows are their places."""
    workspace, rows = Workspace(), np.arange(len(scores))
    chosen, _ = cut_pool(
        rows, np.array(scores, dtype=np.float32), total, np.array(newest), num_newest, workspace.scratch()
    )
    return [int(place) for place in chosen]


@pytest.mark.parametrize(
    ("scores", "total", "newest", "num_newest", "chosen"),
    [
        pytest.param([5, 4, 3, 2, 1], 3, [4], 1, [0, 1, 4], id="late"),
        pytest.param([1, 1, 1, 1, 1], 3, [4], 1, [0, 1, 4], id="tied with the cut"),
        pytest.param([5, 4, 3, 2, 1], 3, [2, 4], 2, [0, 2, 4], id="one stands already, at the end"),
        pytest.param([5, 4, 3, 2, 1], 2, [3, 4, 2], 3, [3, 4], id="more than there is room for"),
        pytest.param([5, 4, 3, 2, 1], 3, [4, 4], 2, [0, 1, 4], id="named twice"),
        pytest.param([5, 4, 3, 2, 1], 9, [4], 1, [0, 1, 2, 3, 4], id="all stand"),
        pytest.param([5, 4, 3, 2, 1], 3, [4], 0, [0, 1, 2], id="no room kept"),
    ],
)
def test_what_must_stand_takes_the_places_of_the_weakest_others(
    scores: list[float], total: int, newest: list[int], num_newest: int, chosen: list[int]
) -> None:
    """Pins and new items come in at the end, and push no other of their kind out."""
    assert cut(scores, total, newest, num_newest) == chosen


@pytest.mark.parametrize("size", [0, 1, 7, 40, 100])
def test_most_popular_are_the_first_of_a_stable_sort(size: int) -> None:
    """With ties, and rows that may not be listed."""
    random = np.random.default_rng(size)
    popularity = random.integers(12, size=60).astype(np.float32)
    may_be_listed = random.random(60) > 0.3
    order = [row for row in np.argsort(-popularity, kind="stable").tolist() if may_be_listed[row]]
    assert most_popular(popularity, may_be_listed, size).tolist() == order[:size]


MANY = [float(number * 7919 % 401) for number in range(900)]
"""More than are counted against one another, each more than once."""


@pytest.mark.parametrize(
    "values", [[], [2.0], [0.0, 3.0, 0.0, 1.0, 3.0, 0.0], [-1.0, -1.0, -5.0, 2.0], MANY[:200], MANY]
)
def test_ranks_are_those_of_a_stable_sort(values: list[float]) -> None:
    """Equal values in their order, the least ones too."""
    out = np.full((2, len(values)), np.nan, dtype=np.float32)
    fill_ranks(np.array(values), out, 1)
    order = np.argsort(-np.array(values), kind="stable")
    expected = np.empty(len(values))
    expected[order] = np.log1p(np.arange(len(values))) / 4.0
    np.testing.assert_allclose(out[1], expected, rtol=1e-6)


def test_rarity_is_the_same_from_the_table_and_beyond_it() -> None:
    """A token in few titles, in all of them, and in more than the table has entries."""
    for num_items, count in ((5, 1), (5, 5), (100_000, 2047), (100_000, 2048), (100_000, 90_000)):
        assert rarity(float(count), num_items, rarity_table(num_items)) == math.log(1.0 + num_items / count)
