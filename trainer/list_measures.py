"""What the lists of a micro-batch say of the model before it learns them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.top_rows import top_places
from trainer.counters_score import CountersScore
from trainer.measures.judgement import place_gain
from trainer.measures.settling import ShownList
from trainer.metrics import TOP, PrequentialMetrics
from trainer.open_lists import OpenList
from trainer.samples import Sample
from trainer.slices import slice_masks


def measure_lists(
    metrics: PrequentialMetrics,
    lists: Sequence[OpenList],
    logits: Sequence[NDArray[np.float32]],
    missed: Sequence[tuple[str, ...]],
    counters: CountersScore | None,
) -> None:
    """Fold in organic lists by the rank of their target, and served ones by their labels.

    Args:
        metrics: what is fed.
        lists: of the micro-batch.
        logits: one array (n,) a list, from the weights before it.
        missed: slices of each scored target that no list held.
        counters: what the gate holds the scores against; None where it compares nothing.
    """
    served = [(open_list, scores) for open_list, scores in zip(lists, logits, strict=True) if open_list.is_served]
    scored = [(open_list, scores) for open_list, scores in zip(lists, logits, strict=True) if open_list.is_scored]
    ranks = [rank_of(scores, open_list.target) for open_list, scores in scored]
    told = slice_masks([*(open_list.slices for open_list, _ in scored), *missed])
    metrics.observe_organic(ranks, len(missed), TOP, told)
    for open_list, scores in zip(lists, logits, strict=True):
        _note_tops(metrics, open_list, scores)
    if counters is None:
        metrics.judgement.count(len(scored))
    elif scored:
        metrics.judgement.observe_organic(
            [place_gain(scores, open_list.target) for open_list, scores in scored],
            [place_gain(counters.of(open_list.inputs), open_list.target) for open_list, _ in scored],
            slice_masks([open_list.slices for open_list, _ in scored]),
        )
    if served:
        metrics.observe_served(
            np.concatenate([scores for _, scores in served]),
            np.concatenate([open_list.labels for open_list, _ in served]),
            np.concatenate([open_list.weights > 0 for open_list, _ in served]),
            np.repeat(np.arange(len(served)), [len(scores) for _, scores in served]),
        )


def shown_list(
    sample: Sample,
    open_list: OpenList,
    scores: NDArray[np.float32],
    head_scores: NDArray[np.float32],
    slices: tuple[str, ...],
    counters: CountersScore | None,
) -> ShownList:
    """Return a served list as it waits for its labels to settle.

    Args:
        sample: that showed or corrected it.
        open_list: the same list.
        scores: (n,) in the order of `open_list`.
        head_scores: (n, K) likewise.
        slices: of the sample.
        counters: what the gate holds the scores against; None where it compares nothing.
    """
    served_ms = sample.served_time_ms or sample.event_time_ms
    # A correction begins with its item: items are put in the order of their ids.
    order = [row for _, row in sorted(open_list.row_of.items())]
    labels, told = open_list.labels[order], (head_scores[order], open_list.happened[order].astype(np.int8))
    shown = ShownList(served_ms, scores[order], labels, sample.user_id, slices, *told)
    if counters is not None:
        shown.of_counters = counters.of(open_list.inputs[order])
    return shown


def _note_tops(metrics: PrequentialMetrics, open_list: OpenList, scores: NDArray[np.float32]) -> None:
    """Remember which items stand in the top of a list, where that is asked."""
    if open_list.is_scored or open_list.aged_user:
        assert open_list.rows is not None
        tops: list[int] = open_list.rows[top_places(scores, TOP)].tolist()
        if open_list.is_scored:
            metrics.listed_rows.update(tops)
        if open_list.aged_user:
            metrics.judgement.blocks.open.reach.observe_list(open_list.aged_user, tops)


def mean_loss(lists: Sequence[OpenList], logits: Sequence[NDArray[np.float32]]) -> float:
    """Return the mean log loss of what is known of the lists, before it is learnt; NaN where nothing is."""
    if not lists:
        return math.nan
    scores = np.concatenate(logits)
    labels = np.concatenate([open_list.labels for open_list in lists])
    weights = np.concatenate([open_list.weights for open_list in lists])
    losses = np.logaddexp(0.0, np.where(labels > 0, -scores, scores))
    total = float(weights.sum())
    return float((weights * losses).sum()) / total if total else math.nan


def rank_of(scores: NDArray[np.floating[Any]], target: int) -> int:
    """Return the place of a row, from 0, as a stable sort gives it: ties before it count against it."""
    return int((scores > scores[target]).sum() + (scores[:target] == scores[target]).sum())
