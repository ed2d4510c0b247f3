"""Shown lists between scores and labels: scored before they are learnt, judged when their window has closed.

Letters: `n` items of a list, `K` heads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.packed import pack_array, unpack_array

OPEN_LIMIT = 20_000
"""Lists that wait at the same time; the oldest is judged early when there are more."""


@dataclass
class ShownList:
    """One list as it was shown, with the scores of the model of that moment."""

    served_time_ms: int
    scores: NDArray[np.float32]
    """(n,) logits, or anything that ranks."""
    labels: NDArray[np.float32]
    """(n,) 1 where the item is known to be wanted by now."""
    user_id: str = ""
    slices: tuple[str, ...] = ()
    """Where its measures are also told, see `trainer.slices`."""
    head_scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    """(n, K) logits of every head, (0, 0) where nothing predicts them."""
    head_labels: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int8))
    """(n, K) 1 where it happened by now."""
    of_counters: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    """(n,) scores that counters alone give, (0,) where nobody asks for them."""


class SettlingLists:
    """Lists by request, in the order in which they were first seen.

    Args:
        window_ms: from serving a list to judging it.
    """

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._open: OrderedDict[str, ShownList] = OrderedDict()
        self._early: OrderedDict[str, None] = OrderedDict()
        """Lists first seen through feedback and judged: under `wait` their impression comes later."""

    def __len__(self) -> int:
        return len(self._open)

    def observe(self, request_id: str, shown: ShownList, is_impression: bool, is_immediate: bool, now_ms: int) -> None:
        """Remember the first scores of a list, and every label.

        Args:
            request_id: of the list.
            shown: scores from before this batch is learnt, labels as known now.
            is_impression: whether the list itself came, not only feedback on it.
            is_immediate: whether lists come before their feedback; under `wait` feedback may open a list.
            now_ms: newest event time.
        """
        known = self._open.get(request_id)
        if known is not None:
            known.labels = np.maximum(known.labels, shown.labels)
            known.head_labels = np.maximum(known.head_labels, shown.head_labels)
        elif is_impression and request_id in self._early:
            del self._early[request_id]
        elif is_impression:
            self._open[request_id] = shown
        elif not is_immediate and now_ms <= shown.served_time_ms + self._window_ms:
            self._open[request_id] = shown
            self._remember_early(request_id)

    def settled(self, now_ms: int) -> Iterator[ShownList]:
        """Give up and yield the lists whose window has closed, oldest first."""
        while self._open:
            request_id, shown = next(iter(self._open.items()))
            if now_ms < shown.served_time_ms + self._window_ms and len(self._open) <= OPEN_LIMIT:
                return
            del self._open[request_id]
            yield shown

    def state(self) -> dict[str, Any]:
        """Return the open lists as what JSON can hold."""
        lists = list(self._open.values())
        return {
            "request_ids": list(self._open),
            "early": list(self._early),
            "served_times_ms": [shown.served_time_ms for shown in lists],
            "sizes": [len(shown.scores) for shown in lists],
            "scores": pack_array(_joined([shown.scores for shown in lists])),
            "labels": pack_array(_joined([shown.labels for shown in lists])),
            "user_ids": [shown.user_id for shown in lists],
            "slices": [list(shown.slices) for shown in lists],
            "heads": [list(shown.head_scores.shape) for shown in lists],
            "counters": [len(shown.of_counters) for shown in lists],
            "of_counters": pack_array(_joined([shown.of_counters for shown in lists])),
            "head_scores": pack_array(_joined([shown.head_scores.reshape(-1) for shown in lists])),
            "head_labels": pack_array(_joined([shown.head_labels.reshape(-1).astype(np.float32) for shown in lists])),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        ends = np.cumsum(state["sizes"], dtype=np.int64)[:-1]
        head_ends = np.cumsum([rows * heads for rows, heads in state["heads"]], dtype=np.int64)[:-1]
        columns = zip(
            state["served_times_ms"],
            np.split(unpack_array(state["scores"]), ends),
            np.split(unpack_array(state["labels"]), ends),
            state["user_ids"],
            map(tuple, state["slices"]),
            _shaped(np.split(unpack_array(state["head_scores"]), head_ends), state["heads"]),
            _shaped(np.split(unpack_array(state["head_labels"]).astype(np.int8), head_ends), state["heads"]),
            np.split(unpack_array(state["of_counters"]), np.cumsum(state["counters"], dtype=np.int64)[:-1]),
            strict=False,
        )
        shown = (ShownList(*fields) for fields in columns)
        self._open = OrderedDict(zip(state["request_ids"], shown, strict=False))
        self._early = OrderedDict.fromkeys(state["early"])

    def _remember_early(self, request_id: str) -> None:
        self._early[request_id] = None
        if len(self._early) > OPEN_LIMIT:
            self._early.popitem(last=False)


def ranking_measures(scores: NDArray[np.float32], labels: NDArray[np.float32], top: int) -> dict[str, float]:
    """Return `mrr` (of the best positive) and `ndcg@TOP` of one list; empty where nothing on it was wanted.

    Args:
        scores: (n,)
        labels: (n,) 0 or 1.
        top: places that NDCG looks at.
    """
    positives = int((labels > 0).sum())
    if not positives:
        return {}
    ordered = labels[np.argsort(-scores, kind="stable")] > 0
    discounts = 1.0 / np.log2(np.arange(len(ordered)) + 2.0)
    gained = float(discounts[:top][ordered[:top]].sum())
    return {
        "mrr": 1.0 / (1.0 + int(np.argmax(ordered))),
        f"ndcg@{top}": gained / float(discounts[:top][:positives].sum()),
    }


def _joined(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.float32)


def _shaped(arrays: Sequence[NDArray[Any]], shapes: Sequence[Sequence[int]]) -> Iterator[NDArray[Any]]:
    return (array.reshape(shape) for array, shape in zip(arrays, shapes, strict=False))
