"""Laws of the paired bootstrap and the comparison."""

from __future__ import annotations

import numpy as np
import pytest

from compose.demo.bootstrap import paired_bootstrap
from compose.demo.compare import COUNTERS, FROZEN, LIVE, POPULARITY, compare_methods


def test_interval_equals_plain_resampling() -> None:
    """The multinomial short cut has the interval of resampling the pairs themselves."""
    rng = np.random.default_rng(0)
    hits, other = rng.random(2000) < 0.20, rng.random(2000) < 0.15
    rows = rng.integers(0, 2000, size=(4000, 2000))
    plain = np.percentile((hits.astype(int) - other.astype(int))[rows].mean(axis=1), [2.5, 97.5])
    interval = paired_bootstrap(hits, other, seed=1)
    assert [interval.low, interval.high] == pytest.approx(plain, abs=0.002)
    assert interval.difference == pytest.approx(hits.mean() - other.mean())


def test_equal_methods_differ_by_nothing() -> None:
    """A method against itself has the interval [0, 0], which is not above zero."""
    hits = np.arange(100) % 3 == 0
    interval = paired_bootstrap(hits, hits, seed=1)
    assert (interval.difference, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert not interval.is_above_zero


def test_intervals_are_the_same_for_the_same_seed() -> None:
    """A printed interval can be printed again."""
    hits, other = np.arange(500) % 4 == 0, np.arange(500) % 5 == 0
    assert paired_bootstrap(hits, other, seed=3) == paired_bootstrap(hits, other, seed=3)


def test_methods_of_different_length_are_no_pairs() -> None:
    """Comparing different events is refused."""
    with pytest.raises(ValueError, match="no pairs"):
        paired_bootstrap(np.zeros(3, dtype=np.bool_), np.zeros(4, dtype=np.bool_), seed=1)


def test_comparison_looks_at_late_scored_events_only() -> None:
    """What happened in the first 20 % does not count."""
    late = np.array([False] * 20 + [True] * 80)
    never = np.zeros(100, dtype=np.bool_)
    hits = {POPULARITY: ~late, COUNTERS: late, FROZEN: never, LIVE: late}
    comparison = compare_methods(hits, late, "1.7", seed=1)
    assert dict(comparison.hit_rates) == {POPULARITY: 0.0, COUNTERS: 1.0, FROZEN: 0.0, LIVE: 1.0}
    assert comparison.is_won
    assert comparison.to_json()["live_minus"]["counters"] == {"difference": 0.0, "low": 0.0, "high": 0.0}
