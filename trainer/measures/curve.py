"""How well chances separate and how true they are: AUC, logloss and calibration of pointwise predictions.

Over everything by histograms of fixed size, over the newest predictions exactly. Letters: `n` predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.packed import pack_array, pack_sparse, unpack_array, unpack_sparse

LOGIT_BINS, LOGIT_BOUND = 8192, 16.0
"""Bins of the AUC histogram, .004 wide: against a full sort the error is below 1e-5 once a thousand labels are in."""
ECE_BINS = 15
"""Equal-width bins of the expected calibration error, as Guo et al. 2017 (https://arxiv.org/abs/1706.04599)."""
RECENT = 5000
"""Predictions of the trailing window."""
_FLOOR = 1e-7


class Curve:
    """Additive summary of predicted chances and their labels."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros((2, LOGIT_BINS), dtype=np.int64)
        """Predictions by label and logit."""
        self.reliability: NDArray[np.float64] = np.zeros((3, ECE_BINS))
        """Count, sum of chances and sum of labels by chance."""
        self.loss_sum = 0.0

    def observe(self, chances: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> None:
        """Fold predictions in; chances (n,) in [0, 1], labels (n,) 0 or 1."""
        p = np.clip(chances.astype(np.float64), _FLOOR, 1.0 - _FLOOR)
        is_positive = labels > 0
        places = (np.log(p / (1.0 - p)) + LOGIT_BOUND) * (LOGIT_BINS / (2.0 * LOGIT_BOUND))
        bins = np.clip(places.astype(np.int64), 0, LOGIT_BINS - 1)
        np.add.at(self.counts, (is_positive.astype(np.int64), bins), 1)
        weights = (np.ones_like(p), p, is_positive.astype(np.float64))
        self.reliability += [np.bincount(_ece_bin(p), weights=one, minlength=ECE_BINS) for one in weights]
        self.loss_sum += float(_losses(p, is_positive).sum())

    @property
    def count(self) -> int:
        """Predictions folded in."""
        return int(self.counts.sum())

    def values(self) -> dict[str, float]:
        """Return `auc` (where both labels came), `logloss` and `ece`; empty where nothing was folded in."""
        if not self.count:
            return {}
        count, chances, labels = self.reliability
        found = {"logloss": self.loss_sum / self.count, "ece": float(np.abs(chances - labels).sum() / count.sum())}
        negatives, positives = self.counts
        pairs = float(negatives.sum()) * float(positives.sum())
        if pairs:
            below = np.cumsum(negatives) - 0.5 * negatives
            found["auc"] = float((positives * below).sum() / pairs)
        return found

    def minus(self, earlier: Curve) -> Curve:
        """Return the summary of what came after `earlier`."""
        result = Curve()
        result.counts = self.counts - earlier.counts
        result.reliability = self.reliability - earlier.reliability
        result.loss_sum = self.loss_sum - earlier.loss_sum
        return result

    def copy(self) -> Curve:
        """Return a summary that stays as it is."""
        return self.minus(Curve())

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {
            "counts": pack_sparse(self.counts),
            "reliability": pack_array(self.reliability),
            "loss_sum": self.loss_sum,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.counts = unpack_sparse(state["counts"], (2, LOGIT_BINS))
        self.reliability = unpack_array(state["reliability"])
        self.loss_sum = state["loss_sum"]


class RecentScores:
    """The newest predictions themselves, for exact figures of a trailing window."""

    def __init__(self) -> None:
        self._pairs: NDArray[np.float32] = np.zeros((0, 2), dtype=np.float32)
        """(n, 2) chance and label, oldest first; trimmed when it is twice as long as it has to be."""

    def observe(self, chances: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> None:
        """Append predictions."""
        self._pairs = np.concatenate([self._pairs, np.stack([chances, labels > 0], axis=1).astype(np.float32)])
        if len(self._pairs) > 2 * RECENT:
            self._pairs = self._pairs[-RECENT:].copy()

    def values(self) -> dict[str, float]:
        """Return `auc`, `logloss` and `ece` of the newest `RECENT` predictions."""
        if not len(self._pairs):
            return {}
        p, labels = self._pairs[-RECENT:].astype(np.float64).T
        p = np.clip(p, _FLOOR, 1.0 - _FLOOR)
        gaps = np.bincount(_ece_bin(p), weights=p - labels, minlength=ECE_BINS)
        found = {"logloss": float(_losses(p, labels > 0).mean()), "ece": float(np.abs(gaps).sum() / len(p))}
        area = auc(p, labels)
        return found if area is None else found | {"auc": area}

    def state(self) -> dict[str, Any]:
        """Return the window as what JSON can hold."""
        return pack_array(self._pairs[-RECENT:])

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self._pairs = unpack_array(state)


def auc(scores: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> float | None:
    """Return the chance that a positive stands above a negative, ties counting half; None where one kind is missing.

    Args:
        scores: (n,)
        labels: (n,) 0 or 1.
    """
    is_positive = labels > 0
    negatives, positives = np.sort(scores[~is_positive], kind="stable"), scores[is_positive]
    if not len(negatives) or not len(positives):
        return None
    below = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
    return float(below.sum() / (2.0 * len(negatives) * len(positives)))


def _ece_bin(p: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1))


def _losses(p: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(-np.log(np.where(is_positive, p, 1.0 - p)))
