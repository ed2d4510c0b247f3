"""What must hold of the weights on any device. Knows no pytest, so that `make test-cuda` runs it on a bare machine."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from tests.cuda.recorded import learn, learner_for
from trainer.learner import Learner
from trainer.recorded_batches import RecordedBatches
from trainer.step_config import StepConfig

TOLERANCE = 1e-4
"""Of weights against those of the CPU after a dozen steps: sums are taken in another order."""


def test_device_learns_what_the_cpu_learns(recorded: RecordedBatches, device: str) -> None:
    """The same steps lead to the same weights, rows and optimiser state."""
    here, there = learner_for(recorded, "cpu"), learner_for(recorded, device)
    assert learn(here, recorded) == learn(there, recorded)
    expected = here.arrays()
    for name, array in there.arrays().items():
        np.testing.assert_allclose(array, expected[name], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def test_same_steps_give_the_same_bits(recorded: RecordedBatches, device: str) -> None:
    """Two runs on one device differ nowhere: only deterministic algorithms are used."""
    first, second = learner_for(recorded, device), learner_for(recorded, device)
    learn(first, recorded)
    learn(second, recorded)
    _assert_equal(first, second)


def test_restart_gives_the_same_bits(recorded: RecordedBatches, device: str) -> None:
    """Half of the steps, a checkpoint into another learner, the other half."""
    whole, before, after = (learner_for(recorded, device) for _ in range(3))
    half = len(recorded.lists) // 2
    learn(whole, recorded)
    learn(before, recorded, end=half)
    after.restore(before.tower.names(), before.arrays())
    learn(after, recorded, first=half)
    _assert_equal(whole, after)


def test_batch_that_is_not_finite_changes_no_weight(recorded: RecordedBatches, device: str) -> None:
    """It is refused on the device as on the CPU."""
    learner = learner_for(recorded, device)
    learn(learner, recorded, end=1)
    before = learner.model.dense()
    batch = recorded.lists[1]
    bad = replace(batch, **{f.name: getattr(batch, f.name).copy() for f in fields(batch)})
    bad.weights[0] = np.nan
    assert not learner.learn_lists(bad, step=2).is_taken
    after = learner.model.dense()
    learnt = [name for name, _ in learner.model.named_parameters()]
    assert all(np.array_equal(before[name], after[name]) for name in learnt)


def test_mixed_precision_stays_close(recorded: RecordedBatches, device: str) -> None:
    """Hidden layers in bfloat16: every weight stays float32, and scores stay near those of float32."""
    exact = learner_for(recorded, device)
    mixed = learner_for(recorded, device, StepConfig(replay_rows=5000, mixed_precision=True))
    learn(exact, recorded)
    learn(mixed, recorded)
    assert {array.dtype for array in mixed.model.dense().values()} == {np.dtype(np.float32)}
    inputs = recorded.lists[0].inputs
    difference = np.abs(exact.ranker.predict(inputs) - mixed.ranker.predict(inputs)).max()
    assert 0.0 < difference < 0.05, difference


def _assert_equal(first: Learner, second: Learner) -> None:
    expected = second.arrays()
    different = [name for name, array in first.arrays().items() if not np.array_equal(array, expected[name])]
    assert not different, different
