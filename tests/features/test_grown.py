"""Arrays grow by copies that keep what was there."""

from __future__ import annotations

import numpy as np
import pytest

from features.grown import grown


def test_an_array_with_room_is_itself() -> None:
    """Nothing is copied without need."""
    array = np.arange(70)
    assert grown(array, 70) is array


@pytest.mark.parametrize(("rows", "size"), [(0, 1), (3, 4), (100, 101), (100, 1000)])
def test_growth_keeps_rows_and_fills_the_rest(rows: int, size: int) -> None:
    """From nothing as well: doubling nothing would give nothing."""
    array = np.ones((rows, 2), dtype=np.int32)
    made = grown(array, size, fill=-1)
    assert len(made) >= max(size, 2 * rows)
    assert (made.dtype, made.shape[1]) == (array.dtype, 2)
    assert (made[:rows] == 1).all()
    assert (made[rows:] == -1).all()
