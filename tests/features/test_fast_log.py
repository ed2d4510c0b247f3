"""The log by table is the log."""

from __future__ import annotations

import math

import numpy as np

from features.fast_log import fast_log


def test_the_log_of_any_number_is_that_of_the_library() -> None:
    """From the smallest share to times in milliseconds, and on both sides of every piece's end."""
    numbers = np.concatenate([np.geomspace(1e-300, 1e300, 2001), 1.0 + np.arange(129) / 128, np.nextafter(2.0, [0, 4])])
    found = np.array([fast_log(number) for number in numbers])
    np.testing.assert_allclose(found, np.log(numbers), rtol=1e-11, atol=1e-11)


def test_nothing_counted_is_nothing() -> None:
    """`log(1 + 0)` is 0 itself."""
    assert fast_log(1.0) == 0.0


def test_what_has_no_log_reads_no_memory_beside_the_table() -> None:
    """A bug elsewhere ends in a wrong number, not in another process's memory."""
    assert all(math.isfinite(fast_log(number)) for number in (0.0, -1.0, math.inf, -math.inf, math.nan))
