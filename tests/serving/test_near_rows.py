"""Laws of what lies beside an index: rows that came or moved since it was made are always looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.near_rows import NearRows
from serving.tower_index import TowerIndex

USER = np.array([1.0, 0.0], dtype=np.float32)
Vectors = NDArray[np.float32]


class FirstRows:
    """Stands for faiss's lists: names rows in their order."""

    def __init__(self, size: int) -> None:
        self.size = size

    def search(self, queries: Vectors, limit: int) -> tuple[None, NDArray[np.int64]]:
        """Return the first rows, and -1 where there are no more."""
        rows = np.full((1, limit), -1)
        rows[0, : self.size] = np.arange(min(self.size, limit))
        return None, rows


def made_vectors(size: int = 60) -> Vectors:
    """Return vectors of length 1."""
    return np.tile(USER, (size, 1))


def made_near(vectors: Vectors) -> NearRows:
    """Return what is near among vectors, with an index of them."""
    near = NearRows()
    near.take_over(near.begin(vectors.copy()), TowerIndex(FirstRows(len(vectors)), len(vectors)))
    return near


def found(near: NearRows, num_items: int = 60) -> list[int]:
    """Return what is near, in order."""
    rows = near.of(USER, num_items, 20)
    assert rows is not None
    return sorted(rows.tolist())


def note(near: NearRows, rows: list[int], vectors: Vectors) -> None:
    """Tell of a delta that changed rows of what are these vectors now."""
    near.note(near.moved(np.array(rows), vectors), len(vectors))


def test_without_an_index_all_rows_are_to_be_looked_at() -> None:
    """Also after deltas."""
    near = NearRows()
    note(near, [3], made_vectors())
    assert (near.of(USER, 60, 20), near.num_moved, near.num_bytes) == (None, 0, 0)


def test_a_row_that_moved_far_is_named_by_itself_and_one_that_moved_a_little_is_not() -> None:
    """Each once, whatever the index says of it, and however often it moves."""
    vectors = made_vectors()
    near = made_near(vectors)
    vectors[7] *= 1.04
    vectors[9] *= 1.06
    for _ in range(2):
        note(near, [7, 9], vectors)
    assert near.then is not None
    assert near.then.moved.tolist() == [9]
    assert found(near) == list(range(60))


def test_small_steps_add_up() -> None:
    """What counts is the way from where the index has a row, not from the version before."""
    vectors = made_vectors()
    near = made_near(vectors)
    for _ in range(3):
        vectors[7] *= 1.02
        note(near, [7], vectors)
    assert near.num_moved == 1


def test_a_new_row_is_named_though_no_index_has_it() -> None:
    """With a vector, and before it has one."""
    near = made_near(made_vectors())
    note(near, [60], made_vectors(61))
    note(near, [], made_vectors(62))
    assert found(near, 62) == list(range(62))


def test_a_row_that_the_answering_version_does_not_have_is_not_named() -> None:
    """A delta that is not served is told of, too."""
    near = made_near(made_vectors())
    note(near, [60], made_vectors(61))
    assert found(near, 60) == list(range(60))


def test_where_too_many_rows_moved_all_are_to_be_looked_at() -> None:
    """Fetched one by one they take as long."""
    vectors = made_vectors()
    near = made_near(vectors)
    vectors[:7] *= 2.0
    note(near, list(range(6)), vectors)
    assert near.of(USER, 60, 20) is not None
    note(near, [6], vectors)
    assert near.of(USER, 60, 20) is None


def test_what_moved_while_an_index_was_made_is_beside_it() -> None:
    """And what moved before is in it."""
    vectors = made_vectors()
    near = made_near(vectors)
    vectors[3] *= 2.0
    note(near, [3], vectors)
    begun = near.begin(vectors.copy())
    vectors[5] *= 2.0
    note(near, [5], vectors)
    assert near.then is not None
    assert near.then.moved.tolist() == [3, 5]
    near.take_over(begun, TowerIndex(FirstRows(60), 60))
    assert (near.then.moved.tolist(), found(near)) == ([5], list(range(60)))


def test_nothing_is_looked_up_where_nothing_is_wanted() -> None:
    """A short ranking has no places for the nearest, but needs scores."""
    rows = made_near(made_vectors()).of(USER, 60, 0)
    assert rows is not None
    assert len(rows) == 0
