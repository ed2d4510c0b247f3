"""Runs a ranking baseline over a stream: full ranking of organic positives, and order of shown lists.

Letters: `N` items that had an event, `n` items of a list.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.label_config import Labels
from trainer.evaluation.baselines.tables import Tables, UserPast
from trainer.evaluation.outcome import Outcome
from trainer.evaluation.replay import Progress, batches
from trainer.evaluation.rules import Rules
from trainer.evaluation.stream import Entry, Stream
from trainer.evaluation.timeline import Timeline
from trainer.list_measures import rank_of
from trainer.measures.settling import ShownList
from trainer.metrics import TOP, PrequentialMetrics
from trainer.samples import Event, Sample


class Ranker(Protocol):
    """A method that scores all items for a user, in one or more variants."""

    names: tuple[str, ...]
    history: int

    def scores(self, _user: UserPast, tables: Tables) -> list[NDArray[np.float64]]:
        """Return (N,) for each of `names`."""

    def add(self, _before: list[int], row: int, is_positive: bool) -> None:
        """Learn one event; `_before` are the rows of the user's newest events before it, oldest first."""


class RankingRun:
    """One pass of one method over the stream.

    Args:
        ranker: the method.
        labels: what makes an event positive.
    """

    def __init__(self, ranker: Ranker, labels: Labels) -> None:
        self._ranker = ranker
        self._tables = Tables(ranker.history)
        self._rules = Rules(labels)
        self._metrics = [PrequentialMetrics(round(1000 * labels.window_s)) for _ in ranker.names]

    def run(self, stream: Stream, score_from_ms: int, on_progress: Progress = lambda _done: None) -> list[Outcome]:
        """Replay the stream; returns the outcome of each variant."""
        started_s = time.perf_counter()
        timelines = [Timeline(len(stream.entries)) for _ in self._ranker.names]
        cold_before, done = 0, 0
        for batch in batches(stream.entries, score_from_ms):
            if score_from_ms and batch[0].time_ms >= score_from_ms:
                cold_before, score_from_ms = self._rules.skipped_cold, 0
                for metrics in self._metrics:
                    metrics.restart()
            for timeline, metrics in zip(timelines, self._metrics, strict=True):
                if timeline.needs_totals(batch[0].time_ms, done):
                    timeline.visit(batch[0].time_ms, done, metrics.totals())
            self._take_batch(batch)
            done += len(batch)
            on_progress(done)
        wall_s = time.perf_counter() - started_s
        return [
            self._outcome(name, metrics, timeline, stream, cold_before, wall_s)
            for name, metrics, timeline in zip(self._ranker.names, self._metrics, timelines, strict=True)
        ]

    def _take_batch(self, batch: Sequence[Entry]) -> None:
        ranks: list[list[int]] = [[] for _ in self._ranker.names]
        missed = 0
        for entry in batch:
            sample = entry.sample
            if entry.is_mark or sample.event is None:
                self._observe_list(sample, entry)
                continue
            if sample.kind == "organic" and not entry.only_counts and self._rules.judge(sample.event) == "scored":
                found = self._ranks(sample.event)
                missed += not found
                for own, rank in zip(ranks, found, strict=False):
                    own.append(rank)
            elif sample.kind == "correction":
                self._observe_list(sample, entry)
            self._learn(sample.event)
        for metrics, own in zip(self._metrics, ranks, strict=True):
            metrics.observe_organic(own, missed)
            metrics.settle(batch[-1].time_ms)

    def _ranks(self, event: Event) -> list[int]:
        """Return the target's place in each variant's order; empty where the item was never seen."""
        target = self._tables.row_of(event.item_id)
        if target < 0:
            return []
        user = self._tables.user(event.user_id)
        consumed = np.fromiter(user.consumed, dtype=np.int64, count=len(user.consumed))
        found = []
        for place, scores in enumerate(self._ranker.scores(user, self._tables)):
            scores[consumed] = -np.inf
            found.append(rank_of(scores, target))
            size = min(TOP, len(scores))
            top = np.argpartition(-scores, size - 1)[:size]
            self._metrics[place].listed_rows.update(top.tolist())
        return found

    def _learn(self, event: Event) -> None:
        before = self._tables.user(event.user_id).newest
        row = self._tables.add(event.user_id, event.item_id)
        self._ranker.add(before, row, self._rules.is_positive(event))
        self._rules.add(event)

    def _observe_list(self, sample: Sample, entry: Entry) -> None:
        """Keep the first scores of a list: at its mark where it has one (`wait`), else when it comes."""
        if entry.only_counts:
            return
        items = sorted({item.item_id: item for item in reversed(sample.items)}.values(), key=lambda item: item.item_id)
        rows = np.array([self._tables.row_of(item.item_id) for item in items])
        labels = np.array([float(item.label == 1) for item in items], dtype=np.float32)
        served_ms = sample.served_time_ms or sample.event_time_ms
        scores_of = self._ranker.scores(self._tables.user(sample.user_id), self._tables) if len(self._tables) else []
        for place, metrics in enumerate(self._metrics):
            known = np.concatenate([scores_of[place], [0.0]]) if scores_of else np.zeros(1)
            scores = np.log(known[rows] + 1e-12).astype(np.float32)
            metrics.settling.observe(
                sample.request_id or "",
                ShownList(served_ms, scores, labels, sample.user_id),
                sample.kind == "impression" and not entry.is_mark,
                sample.is_immediate,
                entry.time_ms,
            )

    def _outcome(
        self,
        name: str,
        metrics: PrequentialMetrics,
        timeline: Timeline,
        stream: Stream,
        cold_before: int,
        wall_s: float,
    ) -> Outcome:
        metrics.settle_all()
        timeline.finish(stream.entries[-1].time_ms, metrics.totals())
        coverage = len(metrics.listed_rows) / len(self._tables) if len(self._tables) else None
        skipped = self._rules.skipped_cold - cold_before
        return Outcome(
            name=name,
            totals=metrics.totals(),
            timeline=timeline,
            skipped_cold=skipped,
            coverage=coverage,
            samples=len(stream.entries),
            wall_s=wall_s,
            num_events=stream.num_events,
            says_chances=False,
        )
