"""The law of replay: a seed is one schedule, in any process and at any time."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.schedule import LINES, LONGEST_S, MOST_FAULTS, describe, make_mix, make_swizzle

SEEDS = st.integers(0, 2**63)


@settings(max_examples=300)
@given(SEEDS, st.integers())
def test_a_seed_is_one_schedule(seed: int, other: int) -> None:
    """Whatever else was drawn in this process meanwhile."""
    first, swizzle = make_mix(seed), make_swizzle(seed)
    random.seed(other)
    random.random()
    assert (make_mix(seed), make_swizzle(seed)) == (first, swizzle)


def test_another_process_makes_the_same_schedule() -> None:
    """Hashes of texts differ from process to process; schedules do not."""
    code = "from tests.faults.schedule import describe, make_mix; print(describe(make_mix(7)), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert describe(make_mix(7)) == done.stdout


@settings(max_examples=300)
@given(SEEDS)
def test_a_mix_is_one_to_three_faults_in_their_order_that_end(seed: int) -> None:
    """Nothing lasts longer than its bound, and all begin while events are sent."""
    faults = make_mix(seed)
    assert 1 <= len(faults) <= MOST_FAULTS
    assert sorted(faults, key=lambda fault: fault.at) == list(faults)
    assert all(0.0 < fault.at < 0.9 and fault.lasts_s <= LONGEST_S for fault in faults)


def test_a_swizzle_stalls_every_line_once() -> None:
    """And heals them in another order."""
    faults = make_swizzle(3)
    assert sorted(LINES) == sorted(fault.target for fault in faults)
    assert faults != tuple(sorted(faults, key=lambda fault: fault.at + fault.lasts_s))


def test_seeds_reach_every_fault() -> None:
    """Two hundred of them kill, pause, cut and flush all there is."""
    drawn = [fault for seed in range(200) for fault in make_mix(seed)]
    assert {fault.kind for fault in drawn} == {"kill", "pause", "line", "flush"}
    assert set(LINES) <= {fault.target for fault in drawn}
