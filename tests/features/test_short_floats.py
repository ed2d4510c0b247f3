"""Laws of short decimals."""

from __future__ import annotations

import msgspec
import numpy as np

from features.short_floats import json_rows


def test_floats_are_short_and_read_back_exactly() -> None:
    """Every float32 survives JSON bit by bit, whatever its power of ten, its sign of zero and the least one too."""
    random = np.random.default_rng(3)
    values = (random.normal(size=20_000) * 10.0 ** random.integers(-44, 38, size=20_000)).astype(np.float32)
    values[:8] = [0.0, -0.0, 1e-45, 3.4028235e38, 1.1754944e-38, 9.9999997e-6, 999999.94, 1e9]
    values = np.concatenate([values, 10.0 ** np.arange(-37, 38), random.normal(size=20_000)]).astype(np.float32)
    (text,) = json_rows(values[None])
    assert np.array(msgspec.json.decode(text), dtype=np.float32).tobytes() == values.tobytes()
    assert max(map(len, text.split(b","))) <= 15


def test_decimals_are_as_people_write_them() -> None:
    """No digit more than needed, a point in every number, an exponent where it is shorter."""
    values = np.array([[0.1, 2.5, -3.0, 1200.0], [0.0, 0.00025, 1e-7, 2e12]], dtype=np.float32)
    assert json_rows(values) == [b"[0.1,2.5,-3.0,1200.0]", b"[0.0,0.00025,1.0e-07,2.0e12]"]


def test_what_is_not_finite_is_null() -> None:
    """JSON has no other word for it."""
    assert json_rows(np.array([[np.nan, np.inf, -np.inf]], dtype=np.float32)) == [b"[null,null,null]"]
    assert json_rows(np.zeros((2, 0), dtype=np.float32)) == [b"[]", b"[]"]
