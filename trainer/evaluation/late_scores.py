"""Predictions of a learner that is behind: whatever it has not learnt yet is still judged when it happens.

Who is scored is a matter of the true stream, not of what the learner knows: the same events are judged at every delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.given_lists import GivenLists, observe_shown
from trainer.evaluation.rules import Rules
from trainer.evaluation.stream import Entry
from trainer.list_measures import rank_of
from trainer.metrics import TOP, PrequentialMetrics
from trainer.online_learner import OnlineLearner
from trainer.samples import Event
from trainer.slices import slice_masks


@dataclass
class _Ranked:
    rows: NDArray[np.int64]
    inputs: NDArray[np.float32]
    target: int
    """Where the target stands among the rows, -1 where it does not."""
    slices: tuple[str, ...] = ()


class LateScorer:
    """Measures a learner from outside; learns and counts nothing.

    Args:
        learner: what predicts, as it is.
        lists: rows of shown lists.
    """

    def __init__(self, learner: OnlineLearner, lists: GivenLists) -> None:
        self._learner = learner
        self._lists = lists
        self.rules = Rules(learner.labels)
        self.metrics = PrequentialMetrics(round(1000 * learner.labels.window_s), learner.judged_heads)

    def score_batch(self, entries: Sequence[Entry]) -> None:
        """Predict and measure; of a list that was shown the first scores are kept until its labels settle."""
        self._learner.builder.begin_batch()
        ranked: list[_Ranked] = []
        missed: list[tuple[str, ...]] = []
        for entry in entries:
            sample = self._lists.filled(entry.sample)
            if not (entry.only_counts or sample.kind == "organic"):
                is_impression = sample.kind == "impression" and not entry.is_mark
                observe_shown(self._learner, self.metrics, sample, is_impression, entry.time_ms)
            if sample.event is None:
                continue
            if sample.kind == "organic":
                self._observe_labelled(sample.event)
            if sample.kind == "organic" and self.rules.judge(sample.event) == "scored":
                found = self._ranked(sample.event)
                slices = self._learner.slices_of(sample)
                if found is None:
                    missed.append(slices)
                else:
                    found.slices = slices
                    ranked.append(found)
            self.rules.add(sample.event)
        self._observe_organic(ranked, missed)
        self.metrics.settle(entries[-1].time_ms)

    def _observe_labelled(self, event: Event) -> None:
        """Judge an event that carries its label by what the learner knows by now."""
        label = self._learner.ratings.label_of(event)
        if label is None:
            return
        items = self._learner.builder.items
        row = items.row_of(event.item_id)
        categories = items.categories[row] if row >= 0 else np.zeros(0, dtype=np.int32)
        row = row if row >= 0 else len(items)  # What its first event will give it.
        chance = self._learner.ratings.predict(event, row, categories)
        self.metrics.observe_labelled(np.array([chance]), np.array([label]))

    def _ranked(self, event: Event) -> _Ranked | None:
        """Build the list of this moment; None where it does not hold the target."""
        builder = self._learner.builder
        if not len(builder.items):
            return None
        moment = builder.moment(event.user_id, event.event_time_ms)
        tower = self._learner.retrieval.query(event.user_id, moment)
        candidates = builder.build(moment, tower, event.event_time_ms)
        consumed = builder.items.rows_of(list(self.rules.consumed.get(event.user_id, ())))
        kept = ~np.isin(candidates.rows, consumed)
        rows = candidates.rows[kept]
        places = np.flatnonzero(rows == builder.items.row_of(event.item_id))
        return _Ranked(rows, candidates.inputs[kept], int(places[0])) if len(places) else None

    def _observe_organic(self, ranked: Sequence[_Ranked], missed: Sequence[tuple[str, ...]]) -> None:
        ranks = []
        if ranked:
            logits = self._learner.ranker.predict(np.concatenate([one.inputs for one in ranked]))
            for one, scores in zip(
                ranked, np.split(logits, np.cumsum([len(o.rows) for o in ranked])[:-1]), strict=True
            ):
                ranks.append(rank_of(scores, one.target))
                self.metrics.listed_rows.update(one.rows[np.argsort(-scores, kind="stable")[:TOP]].tolist())
        masks = slice_masks([*(one.slices for one in ranked), *missed])
        self.metrics.observe_organic(ranks, len(missed), slices=masks)
