"""Runs pointwise baselines over the events that carry their label: predict, measure, learn, one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from features.config import AppConfig
from trainer.evaluation.outcome import Outcome
from trainer.evaluation.replay import Progress, batches
from trainer.evaluation.stream import Entry, Stream
from trainer.evaluation.timeline import Timeline
from trainer.metrics import PrequentialMetrics


@dataclass(frozen=True)
class LabelledEvent:
    """What a pointwise method sees of one event, but for its label."""

    user_id: str
    item_id: str
    categories: tuple[str, ...] = ()


class Classifier(Protocol):
    """A method that predicts the label of one event."""

    name: str

    def predict(self, event: LabelledEvent) -> float:
        """Return the chance that the label is 1."""

    def learn(self, event: LabelledEvent, label: float) -> None:
        """Learn one event."""


class PointwiseRun:
    """One pass of one method over the stream.

    Args:
        classifier: the method.
        app: whose actions carry labels.
    """

    def __init__(self, classifier: Classifier, app: AppConfig) -> None:
        self._classifier = classifier
        self._app = app
        self._metrics = PrequentialMetrics()
        self._categories: Mapping[str, tuple[str, ...]] = {}

    def run(self, stream: Stream, score_from_ms: int, on_progress: Progress = lambda _done: None) -> list[Outcome]:
        """Replay the stream; returns one outcome."""
        started_s = time.perf_counter()
        self._categories = {item_id: _categories(raw) for item_id, raw in stream.item_records.items()}
        timeline, done = Timeline(len(stream.entries)), 0
        for batch in batches(stream.entries, score_from_ms):
            if score_from_ms and batch[0].time_ms >= score_from_ms:
                self._metrics.restart()
                score_from_ms = 0
            if timeline.needs_totals(batch[0].time_ms, done):
                timeline.visit(batch[0].time_ms, done, self._metrics.totals())
            self._take_batch(batch)
            done += len(batch)
            on_progress(done)
        wall_s = time.perf_counter() - started_s
        totals = self._metrics.totals()
        timeline.finish(stream.entries[-1].time_ms, totals)
        events = stream.num_events
        return [Outcome(self._classifier.name, totals, timeline, 0, None, len(stream.entries), wall_s, events)]

    def _take_batch(self, batch: Sequence[Entry]) -> None:
        chances, labels = [], []
        for event, label in self._labelled(batch):
            chances.append(self._classifier.predict(event))
            labels.append(label)
            self._classifier.learn(event, label)
        self._metrics.observe_labelled(np.array(chances), np.array(labels))

    def _labelled(self, batch: Sequence[Entry]) -> Iterator[tuple[LabelledEvent, float]]:
        for entry in batch:
            event = entry.sample.event
            if event is None or entry.sample.kind != "organic":
                continue
            label = self._app.actions[event.action].carried_label(event.value)
            if label is not None:
                yield LabelledEvent(event.user_id, event.item_id, self._categories.get(event.item_id, ())), label


def _categories(record: bytes) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(record)["categories"])
