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
    assert pairs.similar(0, 3).tolist() == pytest.approx([0.0, 2 / 3, 1 / 3])


def test_a_full_row_gives_up_its_weakest_neighbour() -> None:
    """With two slots the twice-seen neighbour stays, and the newcomer starts at one."""
    pairs = CoVisitation(2)
    for target in (1, 1, 2, 3):
        pairs.add(rows(0), target)
    assert pairs.neighbours[0].tolist() == [1, 3]
    assert pairs.weights[0].tolist() == [2.0, 1.0]


def test_unknown_and_own_rows_are_passed_over() -> None:
    """-1 in a history and the item itself make no pairs."""
    pairs = CoVisitation(2)
    pairs.add(rows(-1, 1), 1)
    assert pairs.totals.sum() == 0.0
    assert pairs.similar(70, 2).sum() == pairs.similar(-1, 2).sum() == 0.0


def test_an_item_that_stands_twice_in_a_history_counts_once() -> None:
    """A user who came back to it."""
    pairs = CoVisitation(2)
    pairs.add(rows(0, 2, 0), 1)
    assert pairs.totals.tolist() == [1.0, 0.0, 1.0]


def test_a_pair_can_count_both_ways() -> None:
    """Who wanted 1 after 0 and 2 says what goes with 1 too, at the weight that is asked for."""
    pairs = CoVisitation(4)
    pairs.add(rows(0, 2, -1, 1), 1, backward=0.5)
    assert pairs.totals.tolist() == [1.0, 1.0, 1.0]
    assert pairs.similar(1, 3).tolist() == [0.5, 0.0, 0.5]
    assert pairs.touched.take().tolist() == [0, 1, 2]


def test_tables_grow_and_keep_what_they_hold() -> None:
    """A far row takes the capacity with it."""
    pairs = CoVisitation(4)
    pairs.add(rows(0), 1)
    pairs.add(rows(500), 0)
    assert (pairs.similar(0, 2)[1], pairs.similar(500, 1)[0], pairs.num_items) == (1.0, 1.0, 501)


def test_wrapped_arrays_score_the_same() -> None:
    """What a version carries scores like the original."""
    pairs = CoVisitation(4)
    pairs.add(rows(0, 2), 1)
    copy = CoVisitation.from_arrays(pairs.neighbours, pairs.weights, pairs.totals)
    np.testing.assert_array_equal(pairs.similar(0, 3), copy.similar(0, 3))
    with pytest.raises(ValueError, match="do not belong together"):
        CoVisitation.from_arrays(pairs.neighbours, pairs.weights[:1], pairs.totals)


def test_an_empty_table_can_be_carried() -> None:
    """A version of a new app."""
    empty = CoVisitation(4)
    copy = CoVisitation.from_arrays(empty.neighbours, empty.weights, empty.totals)
    assert copy.similar(0, 3).tolist() == [0.0, 0.0, 0.0]


def test_wrapped_arrays_can_be_added_to() -> None:
    """Of a restored table every row can be touched, as far as it goes: it has rows, and no marks yet."""
    wrapped = CoVisitation.from_arrays(
        np.full((5000, 4), -1, dtype=np.int32), np.zeros((5000, 4), dtype=np.float32), np.zeros(5000, dtype=np.float32)
    )
    wrapped.add(rows(4999), 3)
    assert wrapped.touched.take().tolist() == [4999]
    assert wrapped.num_items == 5000
