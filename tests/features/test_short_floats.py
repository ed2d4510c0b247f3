"""Laws of short decimals."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from features.short_floats import shorten_floats


def test_floats_are_short_and_read_back_exactly() -> None:
    """Every float32 survives JSON bit by bit, at nine digits or fewer."""
    random = np.random.default_rng(3)
    values = (random.normal(size=20_000) * 10.0 ** random.integers(-30, 30, size=20_000)).astype(np.float32)
    values[:4] = [0.0, -0.0, 1e-45, 3.4e38]
    text = msgspec.json.encode(shorten_floats(values))
    assert (np.array(msgspec.json.decode(text), dtype=np.float32) == values).all()
    assert msgspec.json.encode(shorten_floats(np.array([0.1, 2.5], dtype=np.float32))) == b"[0.1,2.5]"


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3)])
def test_shape_stays(shape: tuple[int, ...]) -> None:
    """Lists are nested like the array, and what is not finite stays."""
    assert np.array(shorten_floats(np.full(shape, np.inf, dtype=np.float32))).shape == shape
