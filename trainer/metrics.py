"""Prequential metrics: what the model said before it learnt, rolling over the recent past and since the start.

river keeps the windows. Its objects cannot be saved without pickle, so the inputs of the windows are kept beside
them and fed again after a restart.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from river import stats, utils

WINDOW = 2000
"""Lists or batches that a rolling metric looks back."""

RATES = ("hr@10", "ndcg@10", "mrr@10", "candidate_recall", "served_list_auc", "served_logloss")
"""Means over lists (or over rows, weighted, for the loss)."""


class PrequentialMetrics:
    """Rolling and overall means by name, fed once per micro-batch."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.listed_rows: set[int] = set()
        """Catalogue rows that stood in the top of an organic list."""
        self._recent: dict[str, deque[float]] = {
            name: deque(maxlen=WINDOW) for name in (*RATES, "predicted", "observed")
        }
        self._rolling: dict[str, Any] = {name: _window() for name in self._recent}
        self._sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in self._recent}

    def observe(self, name: str, values: Sequence[float]) -> None:
        """Fold the values of one batch in."""
        for value in values:
            self._rolling[name].update(value)
            self._recent[name].append(value)
            self._sums[name][0] += value
            self._sums[name][1] += 1.0

    def observe_organic(self, ranks: Sequence[int], missed: int, top: int) -> None:
        """Fold in the ranks (from 0) of organic targets inside their lists, and how many no list held."""
        hits = [float(rank < top) for rank in ranks]
        gains = [1.0 / math.log2(rank + 2.0) if rank < top else 0.0 for rank in ranks]
        reciprocals = [1.0 / (rank + 1.0) if rank < top else 0.0 for rank in ranks]
        misses = [0.0] * missed
        self.observe("hr@10", hits + misses)
        self.observe("ndcg@10", gains + misses)
        self.observe("mrr@10", reciprocals + misses)
        self.observe("candidate_recall", [1.0] * len(ranks) + misses)

    def observe_served(
        self,
        logits: NDArray[np.float32],
        labels: NDArray[np.float32],
        is_new: NDArray[np.bool_],
        list_of: NDArray[np.int64],
    ) -> None:
        """Fold in served lists laid end to end, all (T,); only labels that are new count.

        `served_list_auc` compares a new positive with the items of its list that are not positive; calibration
        divides what was predicted for impressions by the positives that came.
        """
        chances = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        losses = -np.log(np.clip(np.where(labels > 0, chances, 1.0 - chances), 1e-7, 1.0))
        self.observe("served_logloss", losses[is_new].tolist())
        self.observe("predicted", [float(chances[is_new & (labels == 0)].sum())])
        self.observe("observed", [float((labels * is_new).sum())])
        for row in np.flatnonzero(is_new & (labels > 0)):
            others = logits[(list_of == list_of[row]) & (labels == 0)]
            if len(others):
                below = (others < logits[row]).sum() + 0.5 * (others == logits[row]).sum()
                self.observe("served_list_auc", [float(below / len(others))])

    def count(self, name: str) -> int:
        """Return how many values of a metric were observed."""
        return int(self._sums[name][1])

    def values(self) -> dict[str, float]:
        """Return `NAME` (rolling), `NAME_overall` and `served_calibration` (predicted / observed positives)."""
        result: dict[str, float] = {}
        for name in RATES:
            total, count = self._sums[name]
            if count:
                result[name] = float(self._rolling[name].get())
                result[f"{name}_overall"] = total / count
        predicted, observed = sum(self._recent["predicted"]), sum(self._recent["observed"])
        if observed:
            result["served_calibration"] = predicted / observed
        return result

    def state(self) -> bytes:
        """Return the inputs of all windows and the sums as JSON, for a checkpoint."""
        recent = {name: list(values) for name, values in self._recent.items()}
        return msgspec.json.encode({"recent": recent, "sums": self._sums, "listed_rows": sorted(self.listed_rows)})

    def restore(self, state: bytes) -> None:
        """Feed the inputs of a checkpoint again."""
        saved: Mapping[str, Any] = msgspec.json.decode(state)
        for name, values in saved["recent"].items():
            self._rolling[name] = _window()
            self._recent[name] = deque(values, maxlen=WINDOW)
            for value in values:
                self._rolling[name].update(value)
        self._sums = {name: list(pair) for name, pair in saved["sums"].items()}
        self.listed_rows = set(saved["listed_rows"])


def _window() -> Any:
    return utils.Rolling(stats.Mean(), window_size=WINDOW)
