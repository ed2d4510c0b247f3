"""Each check of the gate: what it holds, and the like of it that passes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from trainer.config import GateConfig
from trainer.gate_checks import (
    baseline_comparisons,
    calibration_comparisons,
    canary_faults,
    norm_faults,
    reach_faults,
    reference_comparisons,
    weekly_comparisons,
    weight_faults,
)
from trainer.gate_statistics import Comparison, faults_at
from trainer.measures.item_reach import ItemReach, OpenReach, choosers
from trainer.measures.judged_blocks import Estimate, JudgedBlocks, estimates

CONFIG = GateConfig()


def _told(value: float, lead: float, size: int = 2000, error: float = 0.002, blocks: int = 20) -> dict[str, Estimate]:
    return {"organic_ndcg": Estimate(size, value, error, lead, error, blocks)}


def _is_held(comparisons: Iterable[Comparison]) -> bool:
    return bool(faults_at(CONFIG.level, comparisons))


def test_numbers_that_run_away_are_held() -> None:
    """Not finite, or scores of 1e-22."""
    assert list(canary_faults(np.array([np.nan], dtype=np.float32))) == ["canary scores are not finite"]
    assert "the bound is 50" in next(canary_faults(np.array([60.0])))
    assert (
        next(iter(weight_faults({"w": np.array([np.inf], dtype=np.float32)}, {"items": np.nan}))) == "w is not finite"
    )
    assert not list(canary_faults(np.array([3.0]))) + list(weight_faults({"w": np.ones(2, np.float32)}, {"items": 1}))


def test_weights_that_leap_are_held() -> None:
    """By more than their own size since the last version; a usual step passes."""
    good = {"w": np.full(4, 2.0, dtype=np.float32)}
    assert list(norm_faults({"w": good["w"] + 3}, good, {"items": 5.0}, {"items": 2.0}, 1.0))[1:]
    assert not list(norm_faults({"w": good["w"] + 1}, good, {"items": 3.0}, {"items": 2.0}, 1.0))


def test_worse_than_counters_is_held_beyond_margin_chance_and_size() -> None:
    """Each of these lets the same fall pass: less than the margin, more noise, few things, few blocks, a release."""
    assert _is_held(baseline_comparisons(CONFIG, _told(0.1, -0.06), {}))
    assert not _is_held(baseline_comparisons(CONFIG, _told(0.1, -0.029, error=1e-6), {}))
    assert not _is_held(baseline_comparisons(CONFIG, _told(0.1, -0.06, error=0.02), {}))
    assert not _is_held(baseline_comparisons(CONFIG, _told(0.1, -0.06, size=CONFIG.min_lists - 1), {}))
    assert not _is_held(baseline_comparisons(CONFIG, _told(0.1, -0.06, blocks=9), {}))
    assert not _is_held(baseline_comparisons(CONFIG, _told(0.1, -0.06), {"organic_ndcg": -0.05}))


def test_fall_since_the_last_good_window_is_held() -> None:
    """In the lead over the counters; or of the measure where the counters fall too."""
    assert _is_held(reference_comparisons(CONFIG, _told(0.4, 0.04), _told(0.4, 0.10)))
    assert _is_held(reference_comparisons(CONFIG, _told(0.3, 0.10), _told(0.4, 0.10)))
    assert not _is_held(reference_comparisons(CONFIG, _told(0.38, 0.09), _told(0.4, 0.10)))


def test_slow_decay_passes_each_step_and_not_the_week() -> None:
    """Ten steps of .01 each pass against the one before; some are held against the frozen baseline."""
    steps = [_told(0.4 - 0.01 * step, 0.2 - 0.01 * step) for step in range(11)]
    pairs = itertools.pairwise(steps)
    assert not any(_is_held(reference_comparisons(CONFIG, now, before)) for before, now in pairs)
    assert [_is_held(weekly_comparisons(CONFIG, now, steps[0])) for now in steps].index(True) == 5


@pytest.mark.parametrize("ratio", [4.0, 0.25])
def test_chances_of_another_size_are_held(ratio: float) -> None:
    """Four times what happens, or a fourth of it; twice and half pass, and so does what only noise tells."""
    for factor, error, is_held in ((ratio, 0.001, True), (ratio**0.5, 0.001, False), (ratio, 0.1, False)):
        told = {"settled_calibration": Estimate(2000, 0.1 * factor, error, 0.1 * factor - 0.1, error)}
        assert _is_held(calibration_comparisons(CONFIG, told)) is is_held


def _reach(pushed: int, choosers: int, fresh: int = 0) -> ItemReach:
    """Half of the app's choices are aged users'; the second item has as many choosers as told."""
    reach = OpenReach()
    for user in range(200):
        reach.observe_list(f"u{user}", [0, 1] if user < pushed else [0])
        reach.observe_choice(f"u{user}", 0, is_aged=True)
        reach.observe_choice(f"fresh-{user}", 0, is_aged=False)
    for user in range(choosers):
        reach.observe_choice(f"u{user}", 1, is_aged=True)
    for user in range(fresh):
        reach.observe_choice(f"fresh-{user}", 1, is_aged=False)
    return reach.closed()


def test_pushed_item_is_held_and_a_hit_passes() -> None:
    """Both reach half of the users at once; only the hit was chosen by known ones."""
    ids = ["usual", "pushed"]
    fault = next(reach_faults(CONFIG, [_reach(100, 0)], [_reach(0, 0)], ids, {}))
    assert fault.startswith("item 'pushed' reaches 50% of aged users, 0% before, and 0 of them chose it")
    assert not list(reach_faults(CONFIG, [_reach(100, 10)], [_reach(0, 0)], ids, {}))
    assert not list(reach_faults(CONFIG, [_reach(20, 0)], [_reach(0, 0)], ids, {}))


@pytest.mark.parametrize(
    ("aged", "fresh", "is_held"),
    [(6, 13, False), (3, 1, False), (2, 0, True), (0, 50, True), (9, 60, True), (10, 60, False)],
)
def test_young_hit_is_told_from_a_push_by_who_chose_it(aged: int, fresh: int, is_held: bool) -> None:
    """Half of the choices are aged users': few choosers like all others are a hit, few among many fresh ones not."""
    faults = list(reach_faults(CONFIG, [_reach(100, aged, fresh)], [_reach(0, 0)], ["usual", "pushed"], {}))
    assert bool(faults) is is_held


def test_reach_comes_back_from_what_is_saved() -> None:
    """Also from a state of before, which told of aged choosers only."""
    reach = _reach(3, 2)
    state = reach.state()
    assert ItemReach.of_state(state).state() == state
    del state["chosen_by_aged"]
    assert choosers([ItemReach.of_state(state)], 1).aged == 2


def test_a_fall_inside_the_window_is_no_noise() -> None:
    """The error of a mean stays small where the second half fell, and grows where bursts take turns."""
    errors = []
    for values in ([1.0] * 10 + [0.0] * 10, [1.0, 0.0] * 10):
        blocks = JudgedBlocks(20 * 100)
        for value in values:
            blocks.observe("organic_ndcg", np.full(100, value), np.zeros(100))
            blocks.close_when_full()
        errors.append(estimates(blocks.window)["organic_ndcg"].value_error)
    assert errors[0] < 0.05 < errors[1]


def test_blocks_come_back_from_what_is_saved() -> None:
    """Window, reference and the open block."""
    blocks, again = JudgedBlocks(200), JudgedBlocks(200)
    for step in range(30):
        blocks.observe("organic_ndcg", np.full(10, step), np.zeros(10), {"new": np.arange(10) > 4})
        blocks.open.reach.observe_list("u", [step])
        if step < 29:
            blocks.close_when_full()
    again.restore(blocks.state())
    assert again.state() == blocks.state()
    assert estimates(again.window) == estimates(blocks.window)
