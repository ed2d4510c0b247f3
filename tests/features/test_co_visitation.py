"""Co-visitation counts what follows what."""

from __future__ import annotations

import numpy as np
import pytest

from features.co_visitation import CoVisitation


def rows(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Build an int64 array."""
    return np.array(values, dtype=np.int64)


def test_score_is_the_share_of_times_that_the_pair_followed() -> None:
    """Item 1 followed item 0 in two of three cases."""
    pairs = CoVisitation(8)
    for target in (1, 1, 2):
        pairs.add(rows(0), target)
    scores = pairs.scores(rows(0), 3)
    assert scores[0].tolist() == pytest.approx([0.0, 2 / 3, 1 / 3])


def test_windows_look_at_the_newest_items_only() -> None:
    """The window of one sees item 0, the window of five also item 3."""
    pairs = CoVisitation(8)
    pairs.add(rows(0), 1)
    pairs.add(rows(3), 2)
    scores = pairs.scores(rows(0, 3), 4)
    assert scores[0, 2] == 0.0
    assert scores[1, 2] == pytest.approx(0.5)


def test_a_full_row_gives_up_its_weakest_neighbour() -> None:
    """With two slots the twice-seen neighbour stays."""
    pairs = CoVisitation(2)
    for target in (1, 1, 2, 3):
        pairs.add(rows(0), target)
    assert set(pairs.neighbours[0].tolist()) == {1, 3}


def test_unknown_and_own_rows_are_passed_over() -> None:
    """-1 in a history and the item itself make no pairs."""
    pairs = CoVisitation(2)
    pairs.add(rows(-1, 1), 1)
    assert pairs.totals.sum() == 0.0
    assert pairs.scores(rows(-1, 70), 2).sum() == 0.0


def test_wrapped_arrays_score_the_same_and_can_grow() -> None:
    """What a version carries scores like the original."""
    pairs = CoVisitation(4)
    pairs.add(rows(0, 2), 1)
    copy = CoVisitation.from_arrays(pairs.neighbours, pairs.weights, pairs.totals)
    np.testing.assert_array_equal(pairs.scores(rows(0), 3), copy.scores(rows(0), 3))
    with pytest.raises(ValueError, match="do not belong together"):
        CoVisitation.from_arrays(pairs.neighbours, pairs.weights[:1], pairs.totals)


def test_an_empty_table_scores_zero() -> None:
    """A version without items is legal."""
    empty = CoVisitation(4)
    copy = CoVisitation.from_arrays(empty.neighbours, empty.weights, empty.totals)
    assert copy.scores(rows(), 0).shape == (3, 0)
