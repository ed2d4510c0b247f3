"""What the trainer's tests share: an app, and streams of samples that are functions of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from features.config import ActionConfig, AppConfig
from features.title_index import MAX_TOKENS
from trainer.config import LearnerConfig
from trainer.gaps import RETENTION, Gap
from trainer.online_learner import OnlineLearner
from trainer.sample_log import SAMPLES_TOPIC, LogRecord
from trainer.samples import Sample, SampleItem
from trainer.version_files import Manifest, Version

START_MS = 1_700_000_000_000
ACTIONS = {
    "like": ActionConfig(outcome="positive"),
    "view": ActionConfig(),
    "rate": ActionConfig(positive_when="value >= 4"),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def app() -> AppConfig:
    """An app with a positive action, a neutral one and one that brings a rating."""
    return AppConfig(name="test", actions=ACTIONS)


@pytest.fixture
def config() -> LearnerConfig:
    """A small model."""
    return LearnerConfig(embedding_dim=8, replay_rows=500, retrieval_negatives=16)


@pytest.fixture
def learner(app: AppConfig, config: LearnerConfig) -> OnlineLearner:
    """A learner that knows nothing."""
    return OnlineLearner(app, config)


class ListLog:
    """A log over a list of records; those before `first_kept` of a partition are gone.

    Args:
        records: of any partitions, in the order in which they are handed out.
        size: records a poll.
    """

    def __init__(self, records: list[LogRecord], size: int = 7) -> None:
        self.records = records
        self.first_kept: dict[str, int] = {}
        self.topic_ids: dict[str, str] = {}
        self._left = list(records)
        self._gaps: list[Gap] = []
        self._size = size

    @property
    def is_empty(self) -> bool:
        """Whether everything was handed out."""
        return not self._left

    def start(self, offsets: Mapping[str, int], topic_ids: Mapping[str, str]) -> bool:
        """Go on at offsets."""
        self._left = [r for r in self._kept() if r.offset >= offsets.get(r.name, 0)]
        for name, first in self.first_kept.items():
            wanted = offsets.get(name, 0)
            if wanted < first:
                self._gaps.append(Gap(name, wanted, first, RETENTION, first - wanted, resume=first))
        return True

    def offsets_at(self, time_ms: int) -> dict[str, int] | None:
        """Return where each partition goes on from a time of Kafka's."""
        offsets = {name: end for name, end in self.end_offsets().items() if name.startswith(SAMPLES_TOPIC)}
        for record in reversed([record for record in self._kept() if record.timestamp_ms >= time_ms]):
            if record.name in offsets:
                offsets[record.name] = record.offset
        return offsets

    def read_range(self, name: str, first: int, end: int) -> list[LogRecord] | None:
        """Return records by offset."""
        return [record for record in self._kept() if record.name == name and first <= record.offset < end]

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Hand out the next few."""
        taken, self._left = self._left[: self._size], self._left[self._size :]
        return taken

    def take_gaps(self) -> list[Gap]:
        """Hand out what `start` missed."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def end_offsets(self) -> dict[str, int]:
        """Where the list ends."""
        return {record.name: record.offset + 1 for record in self.records}

    def close(self) -> None:
        """Do nothing."""

    def _kept(self) -> list[LogRecord]:
        return [record for record in self.records if record.offset >= self.first_kept.get(record.name, 0)]


def organic(index: int, user: int, item: int, outcome: int = 1) -> Sample:
    """One event without a list."""
    return Sample(
        sample_id=f"e{index}",
        kind="organic",
        user_id=f"u{user}",
        items=[SampleItem(f"i{item}")],
        event_time_ms=START_MS + 100 * index,
        action="like" if outcome else "view",
        outcome=outcome,
        broker_time_ms=START_MS + 100 * index + 5,
    )


def rated(sample: Sample, value: float) -> Sample:
    """Turn an event into one that brings a rating of 1 to 5."""
    return msgspec.structs.replace(sample, action="rate", value=value, outcome=int(value >= 4))


def served_pair(learner: OnlineLearner, index: int, user: int, clicked: int, size: int = 5) -> tuple[Sample, Sample]:
    """An impression of `size` items with seeded rows, and the correction that says item `clicked` was liked."""
    random = np.random.default_rng(index)
    rows = random.normal(size=(size, learner.num_inputs)).astype(np.float32).tolist()
    items = [SampleItem(f"i{i}", position=i, row=row) for i, row in enumerate(rows)]
    shared: dict[str, Any] = {
        "request_id": f"r{index}",
        "user_id": f"u{user}",
        "feature_schema_hash": learner.schema_hash,
        "served_time_ms": START_MS + 100 * index,
    }
    impression = Sample(
        sample_id=f"r{index}", kind="impression", items=items, event_time_ms=START_MS + 100 * index, **shared
    )
    labelled = SampleItem(f"i{clicked}", position=clicked, row=rows[clicked], labels={"like": 1.0})
    correction = Sample(
        sample_id=f"r{index}-c",
        kind="correction",
        items=[labelled, *items],
        event_time_ms=START_MS + 100 * index + 50,
        event_id=f"c{index}",
        action="like",
        outcome=1,
        **shared,
    )
    return impression, correction


def sample_stream(learner: OnlineLearner, size: int, seed: int = 1) -> list[Sample]:
    """A mixed stream: organic events of 12 users on 30 items, and every tenth time a served list with a click.

    A quarter of the events are ratings.
    """
    random = np.random.default_rng(seed)
    stream: list[Sample] = []
    for index in range(size):
        user = int(random.integers(12))
        if index % 10 == 9:
            stream.extend(served_pair(learner, index, user, int(random.integers(5))))
        else:
            sample = organic(index, user, int(random.zipf(1.5)) % 30, int(random.random() < 0.7))
            value = 4.0 + index % 2 if sample.outcome else 1.0 + index % 3
            stream.append(rated(sample, value) if index % 4 == 0 else sample)
    return stream


def make_version(version: str, num_items: int = 5, num_users: int = 3, seed: int = 1) -> Version:
    """A small version with seeded numbers."""
    random = np.random.default_rng(seed)

    def numbers(*shape: int) -> NDArray[np.float32]:
        return random.normal(size=shape).astype(np.float32)

    return Version(
        manifest=Manifest(
            name="test", version=version, created_time_ms=START_MS, feature_schema_hash="s", canary_scores=(0.5, -1.25)
        ),
        dense={"w": numbers(3, 2), "count": numbers(1)},
        item_ids=[f"item-{i}é" for i in range(num_items)],
        item_vectors=numbers(num_items, 4),
        user_ids=[f"user-{i}" for i in range(num_users)],
        user_embedding=numbers(num_users, 4),
        neighbours=np.full((num_items, 2), -1, dtype=np.int32),
        weights=numbers(num_items, 2),
        totals=numbers(num_items),
        successors=np.full((num_items, 3), -1, dtype=np.int32),
        successor_weights=np.zeros((num_items, 3), dtype=np.float32),
        successor_totals=np.zeros(num_items, dtype=np.float32),
        title_tokens=np.full((num_items, MAX_TOKENS), -1, dtype=np.int32),
        seen_ms=np.zeros((num_items, 2), dtype=np.int64),
        canary_inputs=numbers(2, 6),
    )
