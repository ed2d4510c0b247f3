"""What the tower says of a list's items: the product of the user's vector with every item's, or with those of a few.

A small catalogue is multiplied whole. Where an index names the rows that are near, only those and the pool are.
Letters: `N` items in the caller's row space, `D` embedding, `n` given candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled, compiled_product

_NO_ROWS = np.zeros(0, dtype=np.int64)
_NO_SCORES = np.zeros(0, dtype=np.float32)
_NO_VECTORS = np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class TowerQuery:
    """A user's vector and what to compare it with."""

    user_vector: NDArray[np.float32]
    """(D,)"""
    item_vectors: NDArray[np.float32]
    """(<= N, D); items beyond it have no vector yet."""
    near_rows: NDArray[np.int64] | None = None
    """(any,) different rows of them among which the nearest are found; None where all must be looked at."""


class TowerScores(NamedTuple):
    """The scores of one list's items, or what they are computed from when they are needed."""

    closeness: NDArray[np.float32]
    """Scores by row (<= N,), by place where candidates are given; empty where `item_vectors` is not."""
    near_rows: NDArray[np.int64]
    """(any,) rows among which the nearest are, where `item_vectors` is not empty."""
    item_vectors: NDArray[np.float32]
    """(<= N, D)"""
    user_vector: NDArray[np.float32]
    """(D,)"""


def tower_scores(
    tower: TowerQuery | None, given: NDArray[np.int64] | None, is_listable: NDArray[np.bool_], limit: int
) -> TowerScores:
    """Return the scores of all items that have a vector, or of the given ones, 0 without a vector.

    Args:
        tower: None where the model has none.
        given: (n,) the candidates, None where they are to be found.
        is_listable: (N,)
        limit: how many of the nearest are wanted; where fewer of the near rows may be listed, all are looked at.
    """
    if tower is None:
        return TowerScores(_NO_SCORES, _NO_ROWS, _NO_VECTORS, _NO_SCORES)
    vectors, near = tower.item_vectors, tower.near_rows
    if given is not None:
        scores = np.zeros(len(given), dtype=np.float32)
        has_vector = given < len(vectors)
        scores[has_vector] = vectors[given[has_vector]] @ tower.user_vector
        return TowerScores(scores, _NO_ROWS, _NO_VECTORS, _NO_SCORES)
    if near is not None and np.count_nonzero(is_listable[near]) >= limit:
        return TowerScores(_NO_SCORES, near, vectors, tower.user_vector)
    return TowerScores(vectors @ tower.user_vector, _NO_ROWS, _NO_VECTORS, _NO_SCORES)


@compiled
def nearest_rows(tower: TowerScores, is_listable: NDArray[np.bool_], limit: int) -> NDArray[np.int64]:
    """Return the `limit` listable rows of the largest scores, largest first, equal ones in their order."""
    if not len(tower.item_vectors):
        return _largest(tower.closeness, is_listable, limit)
    near = tower.near_rows
    scores = np.empty(len(near), dtype=np.float32)
    fill_products(tower.item_vectors, near, tower.user_vector, scores)
    return near[_largest(scores, is_listable[near], limit)]


@compiled
def _largest(scores: NDArray[np.float32], is_listable: NDArray[np.bool_], limit: int) -> NDArray[np.int64]:
    places, size = np.empty(limit, dtype=np.int64), 0
    for candidate in range(len(scores) if limit else 0):
        score = scores[candidate]
        if not is_listable[candidate] or (size == limit and not score > scores[places[size - 1]]):
            continue
        place = size if size < limit else limit - 1
        while place and score > scores[places[place - 1]]:
            places[place] = places[place - 1]
            place -= 1
        places[place] = candidate
        size = min(size + 1, limit)
    return places[:size]


@compiled_product
def fill_products(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], user_vector: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write the products of some rows' vectors with a user's, 0 for rows that have none; out (len(rows),)."""
    for place in range(len(rows)):
        row, total = rows[place], np.float32(0.0)
        if row < len(vectors):
            for column in range(len(user_vector)):
                total += vectors[row, column] * user_vector[column]
        out[place] = total
