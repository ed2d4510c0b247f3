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
"""Micro-batches that are one value to the detectors: people act in sessions, so that neighbours are much alike."""
MEMORY_STEPS = 1000
"""Micro-batches that detectors remember at least; at twice as many they are made anew from the newer half."""
_MEAN_HALF_LIFE_BLOCKS = 25.0
"""Of the mean and spread that a signal is taken relative to."""
_CLIP = 3.0
"""Spreads beyond which one block says no more."""

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
    """Policy `ask_fresh`: somebody should train anew; stays until `acknowledge`."""


class DriftMonitor:
    """Two detectors a signal, and what an alarm does.

    Args:
        config: thresholds and policy.
    """

    def __init__(self, config: DriftConfig) -> None:
        self._config = config
        self._inputs: list[tuple[float, float]] = []
        """(loss, label rate) since the detectors were made; NaN where a batch had none."""
        self._signals = self._new_signals()
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
        reason = self._feed_block(len(self._inputs))
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
        """Note that a fresh model was made or refused."""
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

    def _feed_block(self, end: int) -> str:
        """Feed the block that ends at this input, if one does; say what raised an alarm."""
        if end % BLOCK_STEPS:
            return ""
        block = np.array(self._inputs[end - BLOCK_STEPS : end])
        said = [signal.feed(_mean(block[:, column])) for column, signal in enumerate(self._signals)]
        return next((reason for reason in said if reason), "")

    def _begin_again(self, inputs: list[tuple[float, float]]) -> None:
        self._inputs, self._signals = list(inputs), self._new_signals()
        for end in range(BLOCK_STEPS, len(inputs) + 1, BLOCK_STEPS):
            self._feed_block(end)

    def _new_signals(self) -> tuple[_Signal, _Signal]:
        return _Signal("loss", self._config, only_rising=True), _Signal("label rate", self._config, only_rising=False)


class _Signal:
    """One number a block, relative to its recent past, in both detectors."""

    def __init__(self, name: str, config: DriftConfig, only_rising: bool) -> None:
        from river import drift  # The learner must also run on a bare GPU machine, which has no river.

        self._name, self._only_rising = name, only_rising
        self._adwin = drift.ADWIN(delta=config.adwin_delta)
        self._page_hinkley = drift.PageHinkley(
            min_instances=config.warm_up_steps // BLOCK_STEPS,
            delta=config.page_hinkley_slack,
            threshold=config.page_hinkley_threshold,
            mode="up" if only_rising else "both",
        )
        self._mean, self._variance, self._weight = 0.0, 0.0, 0.0

    def feed(self, value: float) -> str:
        """Take one value; says which detector raised an alarm, empty for none."""
        if not math.isfinite(value):
            return ""
        relative = self._relative(value)
        before = self._adwin.estimation
        self._adwin.update(0.5 + relative / (2.0 * _CLIP))
        self._page_hinkley.update(relative)
        if self._page_hinkley.drift_detected:
            return f"{self._name}, Page-Hinkley"
        has_risen = self._adwin.estimation > before
        if self._adwin.drift_detected and (has_risen or not self._only_rising):
            return f"{self._name}, ADWIN"
        return ""

    def _relative(self, value: float) -> float:
        """Return the value in spreads from the recent mean, then fold it into both (West 1979's weighted update)."""
        deviation = value - self._mean
        spread = math.sqrt(max(self._variance, 1e-12))
        relative = min(max(deviation / spread, -_CLIP), _CLIP) if self._weight > 1.0 else 0.0
        decay = 0.5 ** (1.0 / _MEAN_HALF_LIFE_BLOCKS)
        self._weight = decay * self._weight + 1.0
        share = 1.0 / self._weight
        self._mean += share * deviation
        self._variance = (1.0 - share) * (self._variance + share * deviation * deviation)
        return relative


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the finite values, NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
