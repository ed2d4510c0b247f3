"""A planted change is noticed soon and recovered from faster; noise, learning and sessions raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bench.planted_reversal import SAMPLES_GOAL, recover
from trainer.config import DriftConfig
from trainer.drift import MEMORY_STEPS, DriftMonitor, DriftState

_STEADY = 3000


def _losses(seed: int, size: int, shift: float = 0.0) -> NDArray[np.float64]:
    """A learner that still gets better, noise, and from `_STEADY` on a shift."""
    random = np.random.default_rng(seed)
    steps = np.arange(size)
    noisy = random.normal(0.6 + 0.6 * np.exp(-steps / 500.0), 0.1)
    return np.asarray(noisy + np.where(steps >= _STEADY, shift, 0.0))


def _watch(
    losses: NDArray[np.float64], rates: NDArray[np.float64] | None = None, config: DriftConfig | None = None
) -> tuple[DriftMonitor, list[DriftState]]:
    monitor, alarms = DriftMonitor(config or DriftConfig()), []
    rates = np.random.default_rng(99).binomial(16, 0.5, size=len(losses)) / 16 if rates is None else rates
    for step, (loss, rate) in enumerate(zip(losses, rates, strict=True)):
        state = monitor.observe(float(loss), float(rate), step)
        alarms += [state] if state.is_alarm else []
    return monitor, alarms


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_stream_raises_no_alarm(seed: int) -> None:
    """Though its loss falls all the time, and its label rate comes in sessions of one user after the other."""
    random = np.random.default_rng(seed)
    tastes = np.repeat(random.beta(4, 4, size=2000), 6)[:6000]
    _, alarms = _watch(_losses(seed, 6000), random.binomial(16, tastes) / 16)
    assert alarms == []


@pytest.mark.parametrize("seed", range(3))
def test_a_rise_of_the_loss_is_noticed_soon(seed: int) -> None:
    """By two spreads of a micro-batch: within 100 micro-batches, once, with the signal named."""
    _, (alarm, *more) = _watch(_losses(seed, _STEADY + 250, shift=0.2))
    assert 0 <= alarm.alarm_step - _STEADY <= 100
    assert alarm.reason.startswith("loss")
    assert not more


def test_a_falling_loss_is_no_drift() -> None:
    """The same shift downwards is good news."""
    assert _watch(_losses(1, _STEADY + 1000, shift=-0.2))[1] == []


@pytest.mark.parametrize("change", [-0.25, 0.25])
def test_a_changed_label_rate_is_noticed(change: float) -> None:
    """In either direction, with the loss as it was."""
    random = np.random.default_rng(4)
    chance = np.where(np.arange(_STEADY + 400) < _STEADY, 0.5, 0.5 + change)
    _, alarms = _watch(_losses(1, _STEADY + 400), random.binomial(16, chance) / 16)
    assert [state.reason.split(",")[0] for state in alarms] == ["label rate"]


def test_adwin_alone_notices_too() -> None:
    """Each detector is there: Page-Hinkley out of reach, ADWIN finds the change."""
    config = DriftConfig(page_hinkley_threshold=1e9)
    _, alarms = _watch(_losses(1, _STEADY + 800, shift=0.4), config=config)
    assert [state.reason for state in alarms] == ["loss, ADWIN"]


def test_restored_monitor_goes_on_alike() -> None:
    """At any moment, also just behind a trim and an alarm: the same states from there on."""
    losses = _losses(3, _STEADY + 300, shift=0.2)
    for cut in (7, 2 * MEMORY_STEPS + 5, _STEADY + 95):
        monitor, _ = _watch(losses[:cut])
        restored = DriftMonitor(DriftConfig())
        restored.restore(monitor.state())
        rest = [(float(loss), 0.5, cut + step) for step, loss in enumerate(losses[cut:])]
        assert [restored.observe(*one) for one in rest] == [monitor.observe(*one) for one in rest]
        assert restored.state() == monitor.state()


def test_memory_is_bounded() -> None:
    """However long it runs."""
    monitor, _ = _watch(_losses(1, 5 * MEMORY_STEPS))
    assert len(monitor._inputs) < 2 * MEMORY_STEPS


def test_rates_go_up_at_an_alarm_and_back_in_a_line() -> None:
    """From `raise_by` to 1 over `raise_steps`; without an alarm 1."""
    monitor, (alarm,) = _watch(_losses(1, _STEADY + 150, shift=0.4), config=DriftConfig(raise_by=5.0, raise_steps=100))
    factors = [monitor.rate_factor(alarm.alarm_step + step) for step in (0, 50, 100, 1000)]
    assert factors == [5.0, 3.0, 1.0, 1.0]
    assert DriftMonitor(DriftConfig()).rate_factor(7) == 1.0


def test_asking_for_a_fresh_model_changes_no_rate() -> None:
    """It stays asked for until somebody answers, and is a metric."""
    monitor, (alarm,) = _watch(_losses(1, _STEADY + 150, shift=0.4), config=DriftConfig(policy="ask_fresh"))
    assert alarm.wants_fresh_model
    assert monitor.metrics(alarm.alarm_step) == {
        "drift_alarms": 1.0,
        "drift_rate_factor": 1.0,
        "drift_wants_fresh_model": 1.0,
    }
    monitor.acknowledge()
    assert not monitor.status.wants_fresh_model


def test_batches_without_labels_say_nothing() -> None:
    """Not a number is no value, and switched off is off."""
    nothing = np.full(1000, np.nan)
    assert _watch(nothing, nothing)[1] == []
    assert _watch(_losses(1, _STEADY + 500, 0.4), config=DriftConfig(is_enabled=False))[1] == []


def test_a_popularity_reversal_is_recovered_faster_with_drift_handling() -> None:
    """Users who wanted what is popular want what is not: the same learner, the same stream, with and without."""
    plain, handled = recover(False, seed=1), recover(True, seed=1)
    assert handled.samples <= 0.8 * plain.samples
    assert handled.samples <= SAMPLES_GOAL
    assert handled.early_alarms == 0
