"""Streams whose labels say something, until somebody shuffles them: what the gate must hold, and must not.

Shown lists of planted taste: the chance of a click is a softmax of what one column of an item's row says. From some
place on another item of the list is told to have been clicked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.config import ActionConfig, AppConfig
from tests.trainer.conftest import START_MS
from trainer.config import GateConfig, LearnerConfig
from trainer.gate import Gate
from trainer.online_learner import OnlineLearner
from trainer.samples import Sample, SampleItem

APP = AppConfig(name="test", actions={"like": ActionConfig(outcome="positive")})
LIST_SIZE = 8
_TASTE = 2.5
"""Slope of the taste: of eight items the best one is clicked about half of the time."""


@dataclass
class Shop:
    """A learner behind its gate, as a trainer would feed both.

    Args:
        seed: of the stream.
        config: of the gate.
        lists_a_batch: shown lists of a micro-batch, with a cut behind each.
        gap_ms: between two lists; one settles after ten minutes.
    """

    seed: int
    config: GateConfig
    lists_a_batch: int = 32
    gap_ms: int = 1000

    def __post_init__(self) -> None:
        self.learner = OnlineLearner(APP, LearnerConfig(embedding_dim=8, replay_rows=2000), gate=self.config)
        self.gate = Gate(self.config)
        self.random = np.random.default_rng(self.seed)
        self.lists = self.cuts = 0

    def live(self, lists: int, is_shuffled: bool = False) -> str:
        """Learn more lists with a cut behind each batch, until one is held; return the reason, empty for none."""
        for begin in range(0, lists, self.lists_a_batch):
            size = min(self.lists_a_batch, lists - begin)
            samples = [sample for _ in range(size) for sample in self._list(is_shuffled)]
            self.learner.learn_batch(samples)
            if reason := self.cut():
                return reason
        return ""

    def cut(self) -> str:
        """Judge a version and follow the verdict."""
        self.cuts += 1
        reason = self.gate.judge(self.learner)
        self.gate.follow_cut(self.learner, f"1.{self.cuts}", reason, self.lists * self.gap_ms, self.cuts)
        return reason

    def _list(self, is_shuffled: bool) -> Iterator[Sample]:
        rows = self.random.normal(size=(LIST_SIZE, self.learner.num_inputs)).astype(np.float32)
        chances = np.exp(_TASTE * rows[:, 0])
        clicked = int(self.random.choice(LIST_SIZE, p=chances / chances.sum()))
        if is_shuffled:
            clicked = int(self.random.integers(LIST_SIZE))
        self.lists += 1
        user_id = f"u{self.random.integers(200)}"
        yield from shown_and_clicked(self.learner, self.lists, user_id, rows.tolist(), clicked, self.gap_ms)


def shown_and_clicked(
    learner: OnlineLearner, index: int, user_id: str, rows: Sequence[list[float]], clicked: int, gap_ms: int = 1000
) -> Iterator[Sample]:
    """Yield a list of items with these rows, and the feedback that says which one was liked."""
    items = [SampleItem(f"i{(index + place) % 40}", position=place, row=row) for place, row in enumerate(rows)]
    time_ms = START_MS + gap_ms * index
    yield Sample(
        sample_id=f"r{index}",
        kind="impression",
        user_id=user_id,
        items=items,
        event_time_ms=time_ms,
        request_id=f"r{index}",
        feature_schema_hash=learner.schema_hash,
        served_time_ms=time_ms,
        broker_time_ms=time_ms,
    )
    liked = SampleItem(items[clicked].item_id, position=clicked, row=rows[clicked], labels={"like": 1.0})
    yield Sample(
        sample_id=f"r{index}-c",
        kind="correction",
        user_id=user_id,
        items=[liked, *items],
        event_time_ms=time_ms + 500,
        request_id=f"r{index}",
        feature_schema_hash=learner.schema_hash,
        served_time_ms=time_ms,
        broker_time_ms=time_ms + 500,
        event_id=f"c{index}",
        action="like",
        outcome=1,
    )
