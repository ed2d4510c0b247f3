"""What the gate is told of: how well lists were ordered and chances told, beside what counters alone would have said.

    organic_ndcg       place of what a user chose by himself, among the candidates; beside the counters' order
    settled_ndcg       shown lists on which something was wanted, when their window has closed; likewise
    settled_logloss    their chances, negative log loss; beside one chance for all, the rate of late
    labelled_logloss   events that carry their label; likewise
    *_calibration      chances and what came of them

Everything is from before it is learnt. Where the gate compares nothing, things are counted only: how many were judged
behind a cut is what confirms it. Letters: `n` items of a list or predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.judged_blocks import JudgedBlocks

CALIBRATION = "_calibration"
"""Ending of series whose values are chances and whose baseline is what came of them."""
_RATE_MEMORY = 2000.0
"""Predictions after which the rate of late forgets as fast as it learns."""
_FLOOR = 1e-7


class BaseRate:
    """The share of positives of late: the chance that somebody would tell who knows nothing else."""

    def __init__(self) -> None:
        self.positives, self.count = 1.0, 2.0

    def losses(self, labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the log losses of this one chance, (n,) -> (n,)."""
        rate = self.positives / self.count
        return np.where(labels, -np.log(rate), -np.log1p(-rate))

    def observe(self, labels: NDArray[np.bool_]) -> None:
        """Fold labels in, once they are judged."""
        keep = min(1.0, _RATE_MEMORY / (self.count + len(labels)))
        self.positives = keep * (self.positives + float(labels.sum()))
        self.count = keep * (self.count + len(labels))


class Judgement:
    """Feeds the blocks of the gate's window.

    Args:
        window: things judged in a window.
        is_compared: whether anybody asks what they said; else they are counted.
    """

    def __init__(self, window: int, is_compared: bool = True) -> None:
        self.blocks = JudgedBlocks(window)
        self.is_compared = is_compared
        self._rates = {"settled": BaseRate(), "labelled": BaseRate()}

    def count(self, things: int) -> None:
        """Let things fill the open block without a word on what they said."""
        self.blocks.open.judged += things

    def observe_organic(
        self, gains: Sequence[float], of_counters: Sequence[float], slices: Mapping[str, NDArray[np.bool_]]
    ) -> None:
        """Fold in lists with one target: what its place is worth by the model and by the counters, both (n,)."""
        self.blocks.observe("organic_ndcg", np.array(gains), np.array(of_counters), slices)

    def observe_labelled(self, chances: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> None:
        """Fold in predictions of events that carry their label, both (n,)."""
        if not self.is_compared:
            self.count(len(labels))
            return
        self._observe_chances("labelled", chances, labels, {}, len(labels))

    def observe_settled(
        self,
        chances: NDArray[np.floating[Any]],
        labels: NDArray[np.floating[Any]],
        of_counters: NDArray[np.floating[Any]],
        slices: Sequence[str],
    ) -> None:
        """Fold in a shown list whose window has closed, all (n,); `of_counters` is empty where they are not known."""
        if not self.is_compared:
            self.count(1)
            return
        masks = {name: np.ones(1, dtype=np.bool_) for name in slices}
        self._observe_chances("settled", chances, labels, masks, 1)
        is_wanted = labels > 0
        if len(of_counters) and is_wanted.any() and not is_wanted.all():
            values = [np.array([ordered_gain(scores, is_wanted)]) for scores in (chances, of_counters)]
            self.blocks.observe("settled_ndcg", values[0], values[1], masks, is_counted=False)

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        rates = {name: [rate.positives, rate.count] for name, rate in self._rates.items()}
        return {"blocks": self.blocks.state(), "rates": rates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.blocks.restore(state["blocks"])
        for name, rate in self._rates.items():
            rate.positives, rate.count = state["rates"][name]

    def _observe_chances(
        self,
        name: str,
        chances: NDArray[np.floating[Any]],
        labels: NDArray[np.floating[Any]],
        slices: Mapping[str, NDArray[np.bool_]],
        things: int,
    ) -> None:
        """Fold in chances as `things` things: each by itself, or together as one list."""
        if not len(labels):
            return
        p, is_wanted = np.clip(chances.astype(np.float64), _FLOOR, 1.0 - _FLOOR), labels > 0
        gains, base = np.log(np.where(is_wanted, p, 1.0 - p)), -self._rates[name].losses(is_wanted)
        parts = [gains, base, p, is_wanted.astype(np.float64)]
        if things == 1:
            parts = [part.mean(keepdims=True) for part in parts]
        self._rates[name].observe(is_wanted)
        self.blocks.observe(f"{name}_logloss", parts[0], parts[1], slices)
        self.blocks.observe(f"{name}{CALIBRATION}", parts[2], parts[3], slices, is_counted=False)


def place_gain(scores: NDArray[np.floating[Any]], target: int) -> float:
    """Return `1 / log2(2 + rank)` of one item of a list, ties half before it: NDCG of a list with one positive."""
    rank = float((scores > scores[target]).sum()) + 0.5 * (float((scores == scores[target]).sum()) - 1.0)
    return float(1.0 / np.log2(2.0 + rank))


def ordered_gain(scores: NDArray[np.floating[Any]], is_wanted: NDArray[np.bool_]) -> float:
    """Return NDCG over the whole of a list, ties in the order given; both (n,)."""
    discounts = 1.0 / np.log2(np.arange(len(scores)) + 2.0)
    ordered = is_wanted[np.argsort(-scores, kind="stable")]
    return float(discounts[ordered].sum() / discounts[: int(is_wanted.sum())].sum())
