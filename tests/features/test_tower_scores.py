"""Laws of the tower's scores: all products, or those of the rows that an index names."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from features.tower_scores import TowerQuery, fill_products, nearest_rows, tower_scores

ALL = np.ones(60, dtype=np.bool_)


def made_query(near_rows: NDArray[np.int64] | None = None, seed: int = 1) -> TowerQuery:
    """Return a user beside sixty items, whose products are whole numbers with ties."""
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, size=(60, 11)).astype(np.float32)
    return TowerQuery(random.integers(-2, 3, size=11).astype(np.float32), vectors, near_rows)


def nearest(query: TowerQuery, is_listable: NDArray[np.bool_], limit: int) -> list[int]:
    """Return the nearest rows of a list."""
    rows: list[int] = nearest_rows(tower_scores(query, None, is_listable, limit), is_listable, limit).tolist()
    return rows


@pytest.mark.parametrize("limit", [0, 1, 7, 40, 100])
def test_nearest_are_the_first_of_a_stable_sort(limit: int) -> None:
    """With ties, and rows that may not be listed."""
    query, is_listable = made_query(seed=limit), np.random.default_rng(limit).random(60) > 0.3
    scores = query.item_vectors @ query.user_vector
    order = [row for row in np.argsort(-scores, kind="stable").tolist() if is_listable[row]]
    assert nearest(query, is_listable, limit) == order[:limit]


def test_an_index_that_names_all_rows_gives_what_all_products_give() -> None:
    """Also where one of the nearest may not be listed."""
    is_listable = ALL.copy()
    is_listable[nearest(made_query(), ALL, 3)] = False
    assert nearest(made_query(np.arange(60)), is_listable, 9) == nearest(made_query(), is_listable, 9)


def test_only_what_an_index_names_is_looked_at() -> None:
    """The best of the named ones, best first."""
    best = nearest(made_query(), ALL, 60)
    assert nearest(made_query(np.array(sorted(best[5:15]))), ALL, 4) == best[5:9]


def test_where_too_few_of_the_named_may_be_listed_all_are_looked_at() -> None:
    """A narrow filter costs time, not items."""
    is_listable = np.arange(60) >= 50
    query = made_query(np.arange(53))
    assert nearest(query, is_listable, 4) == nearest(made_query(), is_listable, 4)
    assert max(nearest(query, is_listable, 3)) < 53


def test_all_products_are_those_of_numpy_to_the_last_bit() -> None:
    """Trainer, `evaluate` and small catalogues see what they always saw."""
    random = np.random.default_rng(3)
    query = TowerQuery(random.normal(size=32).astype(np.float32), random.normal(size=(60, 32)).astype(np.float32))
    scores = tower_scores(query, None, ALL, 20)
    assert scores.closeness.tobytes() == (query.item_vectors @ query.user_vector).tobytes()
    assert (len(scores.item_vectors), len(scores.near_rows)) == (0, 0)


def test_given_items_have_their_own_scores_and_0_without_a_vector() -> None:
    """In their order, whatever an index names."""
    query = made_query(np.arange(5))
    given = np.array([7, 99, 3])
    scores = tower_scores(query, given, ALL, 20).closeness
    product = query.item_vectors @ query.user_vector
    assert scores.tolist() == [product[7], 0.0, product[3]]


def test_products_of_single_rows_are_right_and_0_without_a_vector() -> None:
    """Items that a version has no vector of yet stand behind those that have one."""
    query, out = made_query(), np.empty(3, dtype=np.float32)
    fill_products(query.item_vectors, np.array([59, 60, 0]), query.user_vector, out)
    product = query.item_vectors @ query.user_vector
    assert out.tolist() == [product[59], 0.0, product[0]]
