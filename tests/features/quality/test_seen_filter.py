"""The id memory: never a wrong no, few wrong yes, bounded, and itself again after a restart."""

from __future__ import annotations

import numpy as np

from features.quality.seen_filter import BITS_PER_KEY, SeenFilter
from tests.features.quality.quality_world import ids_of


def keys(first: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Distinct ids."""
    return ids_of(np.arange(first, first + size), 1)


def test_what_was_added_is_seen() -> None:
    """No key of the newest generation is ever forgotten."""
    seen = SeenFilter(0.25, 10**9)
    seen.add(keys(0, 5000), 1)
    assert seen.contains(keys(0, 5000)).all()


def test_error_stays_below_its_bound_however_much_is_added() -> None:
    """Far beyond the capacity, ids that never were are taken for seen in at most 0.2 % of the cases."""
    seen = SeenFilter(0.25, 10**9)
    for step in range(40):
        seen.add(keys(5000 * step, 5000), step)
    assert seen.contains(keys(10**9, 50_000)).mean() < 0.002 * 1.3


def test_memory_reaches_back_by_its_capacity() -> None:
    """The newest half of the capacity at least is remembered, and the reach is told."""
    seen = SeenFilter(0.25, 10**9)
    capacity = (1 << 20) // BITS_PER_KEY
    for step in range(10):
        seen.add(keys(capacity // 2 * step, capacity // 2), 1000 * step)
    assert seen.contains(keys(capacity // 2 * 8, capacity)).all()
    assert 0 < seen.memory_ms(10_000) <= 5000


def test_old_generation_is_retired_by_age() -> None:
    """What is two horizons old is forgotten, however empty the filter."""
    seen = SeenFilter(0.25, 1000)
    seen.add(keys(0, 10), 0)
    seen.add(keys(10, 10), 1500)
    seen.add(keys(20, 10), 3000)
    assert not seen.contains(keys(0, 10)).any()
    assert seen.contains(keys(10, 10)).all()


def test_restored_filter_goes_on_alike() -> None:
    """A filter from another's arrays answers and retires as that one does."""
    first, second = SeenFilter(0.25, 1000), SeenFilter(0.25, 1000)
    first.add(keys(0, 500), 0)
    assert second.fits(first.arrays())
    second.restore(first.arrays())
    for seen in (first, second):
        seen.add(keys(500, 500), 1200)
    assert all(np.array_equal(array, second.arrays()[name]) for name, array in first.arrays().items())
    assert not SeenFilter(1.0, 1000).fits(first.arrays())
