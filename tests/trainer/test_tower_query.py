"""The compiled user vector is the one that the server computes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.model import HISTORY_WEIGHTS, user_vector
from trainer.tower_query import query_vector

RANDOM = np.random.default_rng(5)
INDEX: NDArray[np.float32] = RANDOM.standard_normal((40, 6), dtype=np.float32)
WEIGHT, BIAS = RANDOM.standard_normal((6, 6), dtype=np.float32), RANDOM.standard_normal(6, dtype=np.float32)
OWN: NDArray[np.float32] = RANDOM.standard_normal(6, dtype=np.float32)


@pytest.mark.parametrize(
    ("rows", "outcomes"),
    [
        pytest.param([3, 7, 39, 0], [1, 0, -1, 1], id="one was not liked"),
        pytest.param([3, -1, 40, 10_000, 5], [1, 1, 1, 1, 1], id="some have no vector"),
        pytest.param(list(range(30)), [1] * 30, id="longer than is looked at"),
        pytest.param([2, 3], [-1, -1], id="nothing was liked"),
        pytest.param([], [], id="no history"),
    ],
)
@pytest.mark.parametrize("has_row", [True, False])
def test_it_is_that_of_numpy(rows: list[int], outcomes: list[int], has_row: bool) -> None:
    """With a row of the user's own and without."""
    history, said = np.array(rows, dtype=np.int64), np.array(outcomes, dtype=np.int8)
    own = OWN if has_row else np.zeros(0, dtype=np.float32)
    found = query_vector(WEIGHT, BIAS, own, INDEX, history, said, HISTORY_WEIGHTS)
    history, said = history[:20], said[:20]
    known = (history >= 0) & (history < len(INDEX))
    expected = user_vector((WEIGHT, BIAS), OWN if has_row else None, INDEX[history[known]], said[known])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
