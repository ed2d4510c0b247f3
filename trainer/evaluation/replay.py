"""The learner over a stream: micro-batch by micro-batch, predict before learn, as the trainer does it.

Three ways: at once; late (`delay_s`: predictions at `t` come from counters and weights of `t - delay`); frozen (from
`freeze_from` on the weights stay, the counters go on). Late and frozen predict outside `OnlineLearner.learn_batch`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from trainer.evaluation.given_lists import GivenLists, OpenBatch, observe_shown
from trainer.evaluation.late_scores import LateScorer
from trainer.evaluation.outcome import Outcome
from trainer.evaluation.stream import Entry, Stream
from trainer.evaluation.timeline import Timeline
from trainer.history_batches import batch_samples
from trainer.item_records import apply_item
from trainer.metrics import PrequentialMetrics
from trainer.online_learner import OnlineLearner
from trainer.samples import Sample

Progress = Callable[[int], object]
"""Told how many entries are done."""


@dataclass(frozen=True)
class ReplayOptions:
    """How a stream is replayed."""

    score_from_ms: int = 0
    """Score only what comes at or after this time; everything is learnt."""
    delay_s: float = 0.0
    """Stream seconds between a sample and its effect."""
    freeze_from: int | None = None
    """Entries after which no weights are learnt."""


class Replay:
    """One run.

    Args:
        learner: fresh, listing seen items only.
        stream: what it learns.
        options: how.
        on_progress: told after every micro-batch.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        stream: Stream,
        options: ReplayOptions | None = None,
        on_progress: Progress = lambda _done: None,
    ) -> None:
        self.learner = learner
        self._stream = stream
        self._options = options or ReplayOptions()
        self._on_progress = on_progress
        self._lists = GivenLists(learner)
        self._timeline = Timeline(len(stream.entries))
        is_plain = not self._options.delay_s and self._options.freeze_from is None
        self._scorer = None if is_plain else LateScorer(learner, self._lists)
        self._waiting: deque[Entry] = deque()
        self._learnt = 0
        self._cold_before = 0

    def run(self) -> Outcome:
        """Replay the stream to its end."""
        started_s = time.perf_counter()
        score_from_ms, done = self._options.score_from_ms, 0
        for batch in batches(self._stream.entries, score_from_ms):
            if score_from_ms and batch[0].time_ms >= score_from_ms:
                self._begin_scoring(done)
                score_from_ms = 0
            if self._timeline.needs_totals(batch[0].time_ms, done):
                self._timeline.visit(batch[0].time_ms, done, self._metrics.totals())
            self._take_batch(batch)
            done += len(batch)
            self._on_progress(done)
        if score_from_ms:  # The whole stream is older.
            self._begin_scoring(done)
        self._metrics.settle_all()
        wall_s = time.perf_counter() - started_s
        return self._outcome(wall_s)

    @property
    def _metrics(self) -> PrequentialMetrics:
        return self.learner.metrics if self._scorer is None else self._scorer.metrics

    @property
    def _skipped_cold(self) -> int:
        return self.learner.progress.skipped_cold if self._scorer is None else self._scorer.rules.skipped_cold

    def _begin_scoring(self, done: int) -> None:
        self._metrics.restart()
        self._cold_before = self._skipped_cold
        self._timeline.restart(self._metrics.totals(), done)

    def _take_batch(self, batch: Sequence[Entry]) -> None:
        if self._scorer is None:
            self._learn(batch)
        elif self._options.delay_s:
            self._learn_due(batch[0].time_ms - round(1000 * self._options.delay_s))
            self._announce(batch)
            self._scorer.score_batch(batch)
            self._waiting.extend(batch)
        else:
            # One by one: the counters that a frozen model sees are as fresh as those that a live one sees.
            for entry in batch:
                self._announce([entry])
                self._scorer.score_batch([entry])
                self._learn([entry])

    def _learn_due(self, until_ms: int) -> None:
        due: list[Entry] = []
        while self._waiting and self._waiting[0].time_ms <= until_ms:
            due.append(self._waiting.popleft())
            if len(due) >= batch_samples(self._learnt):
                self._learn(due)
                due = []
        if due:
            self._learn(due)

    def _learn(self, entries: Sequence[Entry]) -> None:
        self._announce(entries)
        batch = OpenBatch(entries, self._lists, self._score_mark)
        is_frozen = self._options.freeze_from is not None and self._learnt >= self._options.freeze_from
        held = [is_frozen or only_counts for only_counts in batch.held]
        if len(batch):
            self.learner.learn_batch(batch, held if any(held) else ())
        batch.finish()
        self._learnt += len(entries)

    def _score_mark(self, shown: Sample, now_ms: int) -> None:
        """Take the scores of a list when it is shown, though it is learnt when its window has closed."""
        if self._scorer is None:
            observe_shown(self.learner, self.learner.metrics, shown, False, now_ms)

    def _announce(self, entries: Sequence[Entry]) -> None:
        """Take over the records of items just before they first occur: metadata alone makes no item known."""
        if not self._stream.item_records:
            return
        builder = self.learner.builder
        for entry in entries:
            for item in entry.sample.items:
                record = self._stream.item_records.get(item.item_id)
                if record is not None and builder.items.row_of(item.item_id) < 0:
                    apply_item(builder, item.item_id.encode(), record)

    def _outcome(self, wall_s: float) -> Outcome:
        metrics, entries = self._metrics, self._stream.entries
        self._timeline.finish(entries[-1].time_ms, metrics.totals())
        known = {item.item_id for entry in entries for item in entry.sample.items[:1] if entry.sample.event}
        return Outcome(
            name="headrace",
            totals=metrics.totals(),
            timeline=self._timeline,
            skipped_cold=self._skipped_cold - self._cold_before,
            coverage=len(metrics.listed_rows) / len(known) if known else None,
            samples=sum(not entry.is_mark for entry in entries),
            wall_s=wall_s,
            num_events=self._stream.num_events,
        )


def batches(entries: Sequence[Entry], score_from_ms: int = 0) -> Iterator[Sequence[Entry]]:
    """Cut a stream into micro-batches; one begins at the first entry that is scored."""
    first = next((place for place, entry in enumerate(entries) if entry.time_ms >= score_from_ms), len(entries))
    for begin, end in ((0, first), (first, len(entries))):
        start = begin
        while start < end:
            size = batch_samples(start)
            yield entries[start : min(end, start + size)]
            start += size
