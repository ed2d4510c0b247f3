"""Prequential metrics: what the model said before it learnt, over the recent past and since the start.

Four kinds of judgement: `organic` (rank of what a user chose by himself), `served` (feedback as it comes), `settled`
(shown lists judged when their window has closed; `head_NAME[HEAD]` the same of one head) and `labelled` (events that
carry their label, such as a rating).
All sums are additive: what lies between two `totals()` has metrics of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config import GateConfig
from trainer.measures.curve import Curve, RecentScores, auc
from trainer.measures.judgement import Judgement
from trainer.measures.means import MeanWindows
from trainer.measures.settling import SettlingLists, ShownList, ranking_measures
from trainer.measures.user_areas import UserAreas

TOP = 10
"""Places of a list that hit rate, NDCG and MRR look at."""

DEFAULT_WINDOW_MS = 600_000
"""From serving a list to judging it, where nobody says."""

CURVES = ("settled", "labelled")


@dataclass(frozen=True)
class Totals:
    """The sums behind all metrics at one moment."""

    means: Mapping[str, NDArray[np.float64]]
    """Name -> (2,) sum and count."""
    curves: Mapping[str, Curve]

    def minus(self, earlier: Totals) -> Totals:
        """Return the sums of what came after `earlier`."""
        means = {name: pair - earlier.means.get(name, np.zeros(2)) for name, pair in self.means.items()}
        return Totals(means, {name: curve.minus(earlier.curves[name]) for name, curve in self.curves.items()})

    def count(self, name: str) -> int:
        """Return how many values of a mean, or predictions of a curve, were observed."""
        return self.curves[name].count if name in self.curves else int(self.means.get(name, np.zeros(2))[1])

    def values(self) -> dict[str, float]:
        """Return every metric that has a value, by name."""
        found = {name: float(pair[0] / pair[1]) for name, pair in self.means.items() if pair[1]}
        for name, curve in self.curves.items():
            found |= {_told(name, what): value for what, value in curve.values().items()}
        return found


class PrequentialMetrics:
    """Rolling and overall metrics by name, fed once per micro-batch.

    Args:
        window_ms: from serving a list to judging it.
        heads: names of the heads that are judged beside the score, in the order of their columns.
        gate: what is kept for its windows; without one judged things are counted only.
    """

    def __init__(
        self, window_ms: int = DEFAULT_WINDOW_MS, heads: Sequence[str] = (), gate: GateConfig | None = None
    ) -> None:
        self._gate = gate or GateConfig(is_enabled=False)
        self._window_ms = window_ms
        self._heads = tuple(f"head[{name}]" for name in heads)
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.listed_rows: set[int] = set()
        """Catalogue rows that stood in the top of an organic list."""
        self.settling = SettlingLists(self._window_ms)
        self.judgement = Judgement(self._gate.window_lists, self._gate.is_enabled)
        """What the gate before a publish is told of."""
        self._areas = UserAreas()
        self._means = MeanWindows()
        self._curves = {name: Curve() for name in (*CURVES, *self._heads)}
        self._recent = {name: RecentScores() for name in self._curves}

    def observe(self, name: str, values: Sequence[float]) -> None:
        """Fold the values of one batch in."""
        self._means.observe(name, float(sum(values)), len(values))

    def observe_organic(
        self, ranks: Sequence[int], missed: int, top: int = TOP, slices: Mapping[str, NDArray[np.bool_]] | None = None
    ) -> None:
        """Fold in the ranks (from 0) of organic targets inside their lists, and how many no list held.

        Args:
            ranks: of the targets that were found.
            missed: targets that were not.
            top: places looked at.
            slices: name -> which of the targets belong to it, found ones first, (len(ranks) + missed,).
        """
        places = np.array([*ranks, *[np.inf] * missed], dtype=np.float64)
        is_near = places < top
        judged = {
            "hr@10": is_near.astype(np.float64),
            "ndcg@10": np.where(is_near, 1.0 / np.log2(places + 2.0), 0.0),
            "mrr@10": np.where(is_near, 1.0 / (places + 1.0), 0.0),
            "candidate_recall": np.isfinite(places).astype(np.float64),
        }
        for metric, of_targets in judged.items():
            self._means.observe(metric, float(of_targets.sum()), len(places))
            for name, belongs in (slices or {}).items():
                self._means.observe(f"{metric}[{name}]", float(of_targets[belongs].sum()), int(belongs.sum()))

    def observe_labelled(self, probabilities: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> None:
        """Fold in events that carry their label: predicted chances (n,) from before learning, labels (n,) 0 or 1."""
        self._observe_curve("labelled", probabilities, labels)
        self.judgement.observe_labelled(probabilities, labels)

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
        chances = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -50.0, 50.0)))
        losses = -np.log(np.clip(np.where(labels > 0, chances, 1.0 - chances), 1e-7, 1.0))
        self._means.observe("served_logloss", float(losses[is_new].sum()), int(is_new.sum()))
        self._means.observe("predicted", float(chances[is_new & (labels == 0)].sum()), 1)
        self._means.observe("observed", float((labels * is_new).sum()), 1)
        areas = []
        for row in np.flatnonzero(is_new & (labels > 0)):
            others = logits[(list_of == list_of[row]) & (labels == 0)]
            if len(others):
                below = (others < logits[row]).sum() + 0.5 * (others == logits[row]).sum()
                areas.append(float(below / len(others)))
        self.observe("served_list_auc", areas)

    def settle(self, now_ms: int) -> None:
        """Judge the shown lists whose window has closed by `now_ms`."""
        for shown in self.settling.settled(now_ms):
            self._judge(shown)

    def settle_all(self) -> None:
        """Judge every list that still waits: the stream has ended."""
        self.settle(np.iinfo(np.int64).max)

    def count(self, name: str) -> int:
        """Return how many values of a metric were observed."""
        return self.totals().count(name)

    def totals(self) -> Totals:
        """Return the sums so far; later observations do not change them."""
        means = {name: pair.copy() for name, pair in self._means.sums.items()}
        return Totals(means, {name: curve.copy() for name, curve in self._curves.items()})

    def values(self) -> dict[str, float]:
        """Return `NAME` (rolling), `NAME_overall` and `served_calibration` (predicted / observed positives)."""
        overall = self.totals().values()
        means = {name for name in self._means.sums if name not in ("predicted", "observed")}
        result = {name: self._means.rolling(name) for name in means}
        for name, recent in self._recent.items():
            result |= {_told(name, what): value for what, value in recent.values().items()}
        result |= {f"{name}_overall": overall[name] for name in sorted(result)}
        predicted, observed = self._means.recent_sum("predicted"), self._means.recent_sum("observed")
        if observed:
            result["served_calibration"] = predicted / observed
        return result

    def state(self) -> bytes:
        """Return the inputs of all windows and the sums as JSON, for a checkpoint."""
        state = {
            "means": self._means.state(),
            "curves": {name: curve.state() for name, curve in self._curves.items()},
            "recent": {name: recent.state() for name, recent in self._recent.items()},
            "settling": self.settling.state(),
            "areas": self._areas.state(),
            "judgement": self.judgement.state(),
            "listed_rows": sorted(self.listed_rows),
        }
        return json.dumps(state).encode()

    def restore(self, state: bytes) -> None:
        """Take over what `state` returned; the inputs of river's windows are fed again."""
        saved: Mapping[str, Any] = json.loads(state)
        self._means.restore(saved["means"])
        for name in self._curves:
            self._curves[name].restore(saved["curves"][name])
            self._recent[name].restore(saved["recent"][name])
        self.settling.restore(saved["settling"])
        self._areas.restore(saved["areas"])
        self.judgement.restore(saved["judgement"])
        self.listed_rows = set(saved["listed_rows"])

    def _judge(self, shown: ShownList) -> None:
        chances = 1.0 / (1.0 + np.exp(-np.clip(shown.scores.astype(np.float64), -50.0, 50.0)))
        self._observe_curve("settled", chances, shown.labels)
        self.judgement.observe_settled(chances, shown.labels, shown.of_counters, shown.slices)
        if shown.head_scores.size:
            of_heads = 1.0 / (1.0 + np.exp(-np.clip(shown.head_scores.astype(np.float64), -50.0, 50.0)))
            for column, name in enumerate(self._heads):
                self._observe_curve(name, of_heads[:, column], shown.head_labels[:, column])
        self.observe("settled_wanted", [float((shown.labels > 0).any())])
        area = auc(shown.scores, shown.labels)
        measures = ranking_measures(shown.scores, shown.labels, TOP)
        if area is not None:
            measures["gauc"] = area
        for name, value in measures.items():
            for told in (f"settled_{name}", *(f"settled_{name}[{slice_name}]" for slice_name in shown.slices)):
                self.observe(told, [value])
        of_user = self._areas.observe(shown.user_id, shown.scores, shown.labels) if shown.user_id else None
        if of_user is not None:
            size = len(shown.labels)
            for told in ("settled_user_gauc", *(f"settled_user_gauc[{name}]" for name in shown.slices)):
                self._means.observe(told, size * of_user, size)

    def _observe_curve(self, name: str, chances: NDArray[np.floating[Any]], labels: NDArray[Any]) -> None:
        if len(labels):
            self._curves[name].observe(chances, labels)
            self._recent[name].observe(chances, labels)


def _told(curve: str, what: str) -> str:
    """Name a figure of a curve: `settled_auc`, and `head_auc[click]` of `head[click]`."""
    name, bracket, rest = curve.partition("[")
    return f"{name}_{what}{bracket}{rest}"
