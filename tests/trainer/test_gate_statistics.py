"""Comparisons fail by chance as rarely as they say, all of a look together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainer.gate_statistics import Comparison, faults_at, freedom_of
from trainer.measures.judged_blocks import JudgedBlocks, estimates


def _told(fall: float, error: float = 0.01, freedom: float = 19.0, what: str = "m") -> Comparison:
    return Comparison(what, fall, 0.03, error, freedom)


def test_chance_is_that_of_students_t() -> None:
    """Of the fall beyond its margin; a fall within it is no evidence at all."""
    assert _told(0.08).chance == pytest.approx(stats.t.sf(5.0, 19))
    assert _told(0.03).chance == 1.0
    assert (_told(0.04, error=0.0).chance, _told(0.02, error=0.0).chance) == (0.0, 1.0)


def test_freedom_is_welchs() -> None:
    """As of two samples of 20 with the spreads 1 and 3."""
    ours = freedom_of((1 / np.sqrt(20), 20), (3 / np.sqrt(20), 20))
    assert ours == pytest.approx((1 / 20 + 9 / 20) ** 2 / ((1 / 20) ** 2 / 19 + (9 / 20) ** 2 / 19))
    assert freedom_of((0.0, 20), (0.0, 12)) == 11


def test_one_of_many_must_be_surer_than_one_alone() -> None:
    """Holm: the first of a hundred needs a hundredth of the level, and opens the way for the second."""
    strong, weak, calm = _told(0.09, what="strong"), _told(0.08, what="weak"), _told(0.0)
    level = 100 * strong.chance
    assert faults_at(level, [strong, *[calm] * 99])
    assert not faults_at(level, [strong, *[calm] * 100])
    assert len(faults_at(100 * weak.chance, [calm, weak, strong, *[calm] * 98])) == 2


def test_a_reason_tells_value_bound_and_chance() -> None:
    """What an operator reads."""
    (reason,) = faults_at(0.01, [Comparison("ndcg of old", 0.2, 0.03, 0.01, 19.0)])
    assert reason.startswith(
        "ndcg of old: a fall of 0.2000 with an error of 0.0100, the bound is 0.0300; its chance is"
    )


def _false_alarms(level: float, windows: int, burst: int, seed: int) -> float:
    """Return how often windows of a measure whose true lead is exactly at the margin are held."""
    random, held = np.random.default_rng(seed), 0
    for _ in range(windows):
        blocks = JudgedBlocks(2000)
        for _ in range(20):
            leads = -0.03 + np.repeat(random.standard_normal(100 // burst), burst)
            blocks.observe("m", leads, np.zeros(100))
            blocks.close_when_full()
        one = estimates(blocks.window)["m"]
        held += bool(faults_at(level, [Comparison("m", -one.lead, 0.03, one.lead_error, one.blocks - 1)]))
    return held / windows


@pytest.mark.parametrize("burst", [1, 25])
def test_false_alarms_are_as_rare_as_the_level(burst: int) -> None:
    """At the edge of what is allowed, also where 25 things in a row say the same: no more than the level, and noise."""
    assert _false_alarms(0.05, 400, burst, seed=1) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
