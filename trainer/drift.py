"""Notices when the world changes: ADWIN and Page-Hinkley over loss and label rate.

A stream that is merely noisy, slow or better known every minute is none that drifts. So each signal is first taken
relative to its own recent mean and spread; loss alarms only when it rises. river's detectors cannot be saved without
pickle: their inputs since the last reset are kept, bounded, and fed again after a restart, with the same result.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config import DriftConfig
from trainer.measures.packed import pack_array, unpack_array

BLOCK_STEPS = 10
"""Micro-batches that are one value to Page-Hinkley: people act in sessions, so that neighbours are much alike."""
MEMORY_STEPS = 1000
"""Micro-batches that detectors remember at least; at twice as many they are made anew from the newer half."""
MEAN_HALF_LIFE_STEPS = 250.0
"""Of the mean and spread that a signal is taken relative to."""
_LEARNT_SPREAD = 15.0
"""Weight of the values seen from which on outliers are clipped before they are folded in."""
_MIN_BLOCKS = 5
"""Page-Hinkley forgets everything at an alarm, also at one that does not count; it may speak again this soon."""
_ADWIN_CLOCK = 8
"""Micro-batches between two of ADWIN's tests."""
_STEP_CLIP, _BLOCK_CLIP = 3.0, 8.0
"""Spreads beyond which one micro-batch, one block say no more: a shock must be noticed within two blocks."""
_NOW_HALF_LIFE_STEPS = 6.0
_NOW_SPREADS = 0.6
"""An alarm is one only while the signal of the last moments stands this far from its mean: a loss that stops falling
rises against what was to be expected, and is none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DriftState:
    """What the monitor knows, for status file, metrics and policy."""

    alarms: int = 0
    """Since the model began."""
    alarm_step: int = -1
    """Of the newest alarm, -1 for none."""
    reason: str = ""
    """Of the newest alarm: signal and detector."""
    is_alarm: bool = False
    """Whether the newest observation raised it."""
    wants_fresh_model: bool = False
    """Policy `ask_fresh`: somebody should train anew; stays until `acknowledge`, over restarts too."""


class DriftMonitor:
    """Two detectors a signal, and what an alarm does.

    Args:
        config: thresholds and policy.
    """

    def __init__(self, config: DriftConfig) -> None:
        self._config = config
        self._inputs: list[tuple[float, float]] = []
        """(loss, label rate) since the detectors were made; NaN where a batch had none."""
        self._signals = self._new_signals() if config.is_enabled else ()
        self.status = DriftState()

    def observe(self, loss: float, label_rate: float, step: int) -> DriftState:
        """Take the figures of one micro-batch, from before it is learnt.

        Args:
            loss: mean loss, NaN where there was nothing to predict.
            label_rate: share of positives among the labels, NaN where there were none.
            step: of the learner; never falls.
        """
        if not self._config.is_enabled:
            return self.status
        self._inputs.append((loss, label_rate))
        reason = self._feed(len(self._inputs))
        if len(self._inputs) <= self._config.warm_up_steps:
            reason = ""
        if reason:
            self._raise_alarm(reason, step)
        else:
            self.status = DriftState(**asdict(self.status) | {"is_alarm": False})
            if len(self._inputs) >= 2 * MEMORY_STEPS:
                self._begin_again(self._inputs[-MEMORY_STEPS:])
        return self.status

    def rate_factor(self, step: int) -> float:
        """Return what the learning rates are multiplied by: `raise_by` after an alarm, back to 1 in a straight line."""
        if self._config.policy != "raise_rate" or self.status.alarm_step < 0:
            return 1.0
        left = 1.0 - (step - self.status.alarm_step) / self._config.raise_steps
        return 1.0 + (self._config.raise_by - 1.0) * min(max(left, 0.0), 1.0)

    def acknowledge(self) -> None:
        """Note that the model is a fresh one: what changed while its history was learnt asks for no other."""
        self.status = DriftState(**asdict(self.status) | {"wants_fresh_model": False})

    def metrics(self, step: int) -> dict[str, float]:
        """Return what the status file and metrics show."""
        return {
            "drift_alarms": float(self.status.alarms),
            "drift_rate_factor": self.rate_factor(step),
            "drift_wants_fresh_model": float(self.status.wants_fresh_model),
        }

    def state(self) -> bytes:
        """Return everything as JSON, for a checkpoint."""
        inputs = np.array(self._inputs, dtype=np.float64).reshape(-1, 2)
        return json.dumps({"status": asdict(self.status), "inputs": pack_array(inputs)}).encode()

    def restore(self, state: bytes) -> None:
        """Take over what `state` returned: the detectors are made anew and fed the same inputs."""
        saved: Mapping[str, Any] = json.loads(state)
        self.status = DriftState(**saved["status"])
        self._begin_again([(loss, rate) for loss, rate in unpack_array(saved["inputs"]).tolist()])

    def _raise_alarm(self, reason: str, step: int) -> None:
        wants_fresh = self.status.wants_fresh_model or self._config.policy == "ask_fresh"
        self.status = DriftState(self.status.alarms + 1, step, reason, True, wants_fresh)
        logger.warning("drift at step %d: %s; policy %s", step, reason, self._config.policy)
        self._begin_again([])

    def _feed(self, end: int) -> str:
        """Feed the input before `end`, and the block where one ends there; say what raised an alarm."""
        said = [signal.feed(value) for signal, value in zip(self._signals, self._inputs[end - 1], strict=True)]
        if end % BLOCK_STEPS == 0:
            block = np.array(self._inputs[end - BLOCK_STEPS : end])
            said += [signal.feed_block(_mean(block[:, column])) for column, signal in enumerate(self._signals)]
        return next((reason for reason in said if reason), "")

    def _begin_again(self, inputs: list[tuple[float, float]]) -> None:
        self._inputs = list(inputs)
        self._signals = self._new_signals() if self._config.is_enabled else ()
        for end in range(1, len(inputs) + 1):
            self._feed(end)

    def _new_signals(self) -> tuple[_Signal, ...]:
        return _Signal("loss", self._config, only_rising=True), _Signal("label rate", self._config, only_rising=False)


class _Signal:
    """One number a micro-batch: as it is in ADWIN, in blocks in Page-Hinkley."""

    def __init__(self, name: str, config: DriftConfig, only_rising: bool) -> None:
        from river import drift  # The learner must also run on a bare GPU machine, which has no river.

        self._name, self._only_rising = name, only_rising
        self._step = _Relative(MEAN_HALF_LIFE_STEPS, _STEP_CLIP)
        self._block = _Relative(MEAN_HALF_LIFE_STEPS / BLOCK_STEPS, _BLOCK_CLIP)
        self._now = 0.0
        self._adwin = drift.ADWIN(delta=config.adwin_delta, clock=_ADWIN_CLOCK)
        self._page_hinkley = drift.PageHinkley(
            min_instances=_MIN_BLOCKS,
            delta=config.page_hinkley_slack,
            threshold=config.page_hinkley_threshold,
            mode="up" if only_rising else "both",
        )

    def feed(self, value: float) -> str:
        """Take the value of one micro-batch; name the detector that raises an alarm, empty for none."""
        if not math.isfinite(value):
            return ""
        relative = self._step.take(value)
        self._now += (1.0 - 0.5 ** (1.0 / _NOW_HALF_LIFE_STEPS)) * (relative - self._now)
        self._adwin.update(0.5 + relative / (2.0 * _STEP_CLIP))
        return f"{self._name}, ADWIN" if self._adwin.drift_detected and self._is_off_now else ""

    def feed_block(self, mean: float) -> str:
        """Take the mean of one block; name the detector that raises an alarm, empty for none."""
        if not math.isfinite(mean):
            return ""
        self._page_hinkley.update(self._block.take(mean))
        return f"{self._name}, Page-Hinkley" if self._page_hinkley.drift_detected and self._is_off_now else ""

    @property
    def _is_off_now(self) -> bool:
        return (self._now if self._only_rising else abs(self._now)) > _NOW_SPREADS


class _Relative:
    """Values in spreads from their recent mean.

    The spread is that of neighbours, `E[(x_t - x_(t-1))^2] / 2` (von Neumann 1941): a loss that falls while the model
    learns has a wide spread about its mean, and would hide a change for long.

    Args:
        half_life: values after which one counts half.
        clip: spreads beyond which a value says no more.
    """

    def __init__(self, half_life: float, clip: float) -> None:
        self._clip = clip
        self._decay = 0.5 ** (1.0 / half_life)
        self._mean, self._variance, self._last, self._weight = 0.0, 0.0, 0.0, 0.0

    def take(self, value: float) -> float:
        """Return how far a value is from the mean before it, clipped, then fold it in."""
        deviation, jump = value - self._mean, value - self._last
        bound = self._clip * math.sqrt(max(self._variance, 1e-12))
        relative = min(max(deviation, -bound), bound) / (bound / self._clip) if self._weight > 1.0 else 0.0
        if self._weight > _LEARNT_SPREAD:  # A shock must not pass for a wide spread.
            deviation, jump = min(max(deviation, -bound), bound), min(max(jump, -bound), bound)
        self._weight = self._decay * self._weight + 1.0
        share = 1.0 / self._weight
        self._mean += share * deviation
        self._last = value
        if self._weight > 1.0:
            self._variance += share * (0.5 * jump * jump - self._variance)
        return relative


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the finite values, NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
