"""Means by name: over everything, and over the newest micro-batches by river.

river's objects cannot be saved without pickle, so what they were fed (one mean and weight a micro-batch) is kept
beside them and fed again after a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW_BATCHES = 250
"""Micro-batches that a rolling mean looks back: a few thousand samples."""


class MeanWindows:
    """Rolling and overall means; a name comes into being with its first value."""

    def __init__(self) -> None:
        self.sums: dict[str, NDArray[np.float64]] = {}
        """Name -> (2,) sum and count of everything observed."""
        self._inputs: dict[str, deque[tuple[float, float]]] = {}
        self._rolling: dict[str, Any] = {}

    def observe(self, name: str, total: float, count: float) -> None:
        """Fold the values of one micro-batch in: their sum and how many they are."""
        if not count:
            return
        self.sums[name] = self.sums.get(name, np.zeros(2)) + np.array([total, count])
        self._inputs.setdefault(name, deque(maxlen=WINDOW_BATCHES)).append((total / count, count))
        if name not in self._rolling:
            self._rolling[name] = _rolling_mean()
        self._rolling[name].update(total / count, count)

    def rolling(self, name: str) -> float:
        """Return the mean over the newest micro-batches that had a value."""
        return float(self._rolling[name].get())

    def recent_sum(self, name: str) -> float:
        """Return the sum over the newest micro-batches, 0 where there are none."""
        return sum(mean * count for mean, count in self._inputs.get(name, ()))

    def state(self) -> dict[str, Any]:
        """Return sums and inputs as what JSON can hold."""
        return {
            "sums": {name: pair.tolist() for name, pair in self.sums.items()},
            "inputs": {name: list(inputs) for name, inputs in self._inputs.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Feed the inputs of a checkpoint again."""
        self.sums = {name: np.array(pair, dtype=np.float64) for name, pair in state["sums"].items()}
        self._inputs, self._rolling = {}, {}
        for name, inputs in state["inputs"].items():
            self._inputs[name] = deque(((mean, count) for mean, count in inputs), maxlen=WINDOW_BATCHES)
            self._rolling[name] = _rolling_mean()
            for mean, count in self._inputs[name]:
                self._rolling[name].update(mean, count)


class _PlainRollingMean:
    """What river's rolling mean gives, for a machine that has torch and numpy only."""

    def __init__(self) -> None:
        self._inputs: deque[tuple[float, float]] = deque(maxlen=WINDOW_BATCHES)

    def update(self, mean: float, count: float) -> None:
        self._inputs.append((mean, count))

    def get(self) -> float:
        return sum(mean * count for mean, count in self._inputs) / sum(count for _, count in self._inputs)


def _rolling_mean() -> Any:
    try:
        from river import stats, utils  # The learner must also run on a bare GPU machine, which has no river.
    except ImportError:
        return _PlainRollingMean()
    return utils.Rolling(stats.Mean(), window_size=WINDOW_BATCHES)
