"""The sketch never counts too few, seldom too many, and forgets."""

from __future__ import annotations

import pytest

from trainer import sighting_filter
from trainer.sighting_filter import PERIOD, SightingFilter


def test_counts_each_sighting() -> None:
    """Alone in the sketch an id is counted exactly."""
    sightings = SightingFilter(seed=1)
    assert [sightings.count("a") for _ in range(5)] == [1, 2, 3, 4, 5]


def test_few_ids_of_a_full_period_are_counted_too_high() -> None:
    """Just before a halving, on top of what the period before left, one new id in twenty at most shares all cells."""
    sightings = SightingFilter(seed=1)
    for number in range(2 * PERIOD - 2000):
        sightings.count(f"old-{number}")
    wrong = sum(sightings.count(f"new-{number}") > 1 for number in range(1000))
    assert wrong <= 50


def test_rare_ids_are_forgotten_and_frequent_ones_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A period later a single sighting is gone."""
    monkeypatch.setattr(sighting_filter, "PERIOD", 10)
    sightings = SightingFilter(seed=1)
    for id_ in ["once", *["often"] * 8, "other"]:
        sightings.count(id_)
    assert (sightings.count("once"), sightings.count("often")) == (1, 5)


def test_distinct_ids_are_estimated() -> None:
    """Within two percent of 10,000."""
    sightings = SightingFilter(seed=1)
    for number in range(10_000):
        sightings.count(f"u{number}")
    assert abs(sightings.distinct() - 10_000) < 200
