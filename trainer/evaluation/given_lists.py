"""Ranker inputs of lists that were shown without being logged: from the in-process tables, as of the moment.

Letters: `n` items of a list, `F` ranker inputs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import overload

import msgspec
import numpy as np

from features.candidates import CandidateList
from trainer.evaluation.stream import Entry
from trainer.measures.settling import ShownList
from trainer.metrics import PrequentialMetrics
from trainer.online_learner import OnlineLearner
from trainer.samples import Sample, SampleItem


class GivenLists:
    """Rows of shown lists by request, kept as long as feedback may come.

    Args:
        learner: whose tables, vectors and schema the rows are of.
    """

    def __init__(self, learner: OnlineLearner) -> None:
        self._learner = learner
        self._items: OrderedDict[str, tuple[int, dict[str, SampleItem]]] = OrderedDict()
        """Request -> (served_time_ms, item id -> item with its row)."""

    def filled(self, sample: Sample) -> Sample:
        """Return the sample with rows; a list that is seen for the first time gets them from the tables as of now."""
        if sample.kind == "organic" or self._has_rows(sample):
            return sample
        known = self._items.get(sample.request_id or "")
        if known is None:
            known = self._take(sample)
        items = [msgspec.structs.replace(known[1][item.item_id], labels=item.labels) for item in sample.items]
        return msgspec.structs.replace(sample, items=items, feature_schema_hash=self._learner.schema_hash)

    def _has_rows(self, sample: Sample) -> bool:
        is_ours = sample.feature_schema_hash == self._learner.schema_hash
        return is_ours and all(item.row is not None for item in sample.items)

    def _take(self, sample: Sample) -> tuple[int, dict[str, SampleItem]]:
        served_ms = sample.served_time_ms or sample.event_time_ms
        items = list({item.item_id: item for item in sample.items}.values())
        inputs = given_list(self._learner, sample.user_id, [item.item_id for item in items], served_ms).inputs
        rows = {
            item.item_id: msgspec.structs.replace(item, row=row)
            for item, row in zip(items, inputs.tolist(), strict=True)
        }
        known = self._items[sample.request_id or ""] = (served_ms, rows)
        horizon_ms = self._learner.labels.horizon_ms
        while served_ms - next(iter(self._items.values()))[0] > horizon_ms:
            self._items.popitem(last=False)
        return known


class OpenBatch(Sequence[Sample]):
    """A micro-batch whose lists get their rows when the learner comes to them, behind the events before them.

    Args:
        entries: of the micro-batch, marks included.
        lists: where rows come from.
        on_mark: told a list, with rows, at the moment at which it was shown, where it is learnt later.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        lists: GivenLists,
        on_mark: Callable[[Sample, int], object] = lambda _shown, _now_ms: None,
    ) -> None:
        self._entries, self._lists, self._on_mark = entries, lists, on_mark
        self._filled: list[Sample] = []
        self._next = 0
        self._size = sum(not entry.is_mark for entry in entries)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        """Return one sample, with rows as of the time it is first asked for; of a slice all."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._size))]
        place = index + self._size if index < 0 else index
        if not 0 <= place < self._size:
            raise IndexError(index)
        while len(self._filled) <= place:
            self._fill_next()
        return self._filled[place]

    def __iter__(self) -> Iterator[Sample]:
        return (self[place] for place in range(self._size))

    @property
    def held(self) -> list[bool]:
        """Say of each sample whether it counts only."""
        return [entry.only_counts for entry in self._entries if not entry.is_mark]

    def finish(self) -> None:
        """Take the rows of marks behind the last sample."""
        while self._next < len(self._entries):
            self._fill_next()

    def _fill_next(self) -> None:
        entry = self._entries[self._next]
        self._next += 1
        sample = self._lists.filled(entry.sample)
        if entry.is_mark:
            self._on_mark(sample, entry.time_ms)
        else:
            self._filled.append(sample)


def observe_shown(
    learner: OnlineLearner, metrics: PrequentialMetrics, sample: Sample, is_impression: bool, now_ms: int
) -> None:
    """Keep what the model says now of a shown list, with the labels known now; items in the order of their ids."""
    items = sorted({item.item_id: item for item in reversed(sample.items)}.values(), key=lambda item: item.item_id)
    inputs = np.array([item.row for item in items], dtype=np.float32)
    scores, head_scores = learner.ranker.predict(inputs), learner.ranker.predict_heads(inputs)
    labels = np.array([float(item.label == 1) for item in items], dtype=np.float32)
    happened = np.array([learner.heads.row(item.known) for item in items])
    served_ms = sample.served_time_ms or sample.event_time_ms
    slices = learner.slices_of(sample)
    shown = ShownList(served_ms, scores, labels, sample.user_id, slices, head_scores, happened)
    metrics.settling.observe(sample.request_id or "", shown, is_impression, sample.is_immediate, now_ms)


def given_list(learner: OnlineLearner, user_id: str, item_ids: Sequence[str], now_ms: int) -> CandidateList:
    """Compute the inputs of exactly these items for a user as of now; nothing is counted."""
    builder = learner.builder
    rows = builder.items.ensure_rows(item_ids)
    moment = builder.moment(user_id, now_ms)
    return builder.build_given(moment, rows, learner.retrieval.query(user_id, moment), now_ms)
