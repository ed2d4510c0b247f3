"""Held windows: what is deferred counts and teaches nothing; released it teaches once; dropped it never does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.config import AppConfig
from features.quality.hold_table import CONTROL_TOPIC, QualityOrder
from features.quality.profile import HELD, QUALITY_TOPIC, Profile, encode_profile
from tests.trainer.conftest import START_MS, ListLog, sample_stream
from tests.trainer.memory_topics import MemoryTopics
from trainer.config import LearnerConfig, TrainerConfig
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.sample_log import SAMPLES_TOPIC, LogRecord
from trainer.samples import decode_sample
from trainer.startup import Places, Startup
from trainer.trainer import Trainer
from trainer.version_files import LocalVersions

WINDOW_MS = 2000
HELD_START_MS = START_MS + 2000


class FakeHoldLog:
    """Profiles, orders and samples in lists."""

    def __init__(self, samples: list[LogRecord], first_kept: int = 0) -> None:
        self.samples = samples
        self.first_kept = first_kept
        self.told: list[LogRecord] = []
        self._next = 0

    def start(self, offsets: dict[str, int]) -> None:
        """Go on behind what was read."""
        self._next = sum(offsets.values())

    def has_caught_up(self) -> bool:
        """Whether all is read."""
        return self._next >= len(self.told)

    def poll(self) -> list[LogRecord]:
        """Hand out what is new."""
        new, self._next = self.told[self._next :], len(self.told)
        return new

    def read_range(self, name: str, offset: int, end: int, limit: int) -> tuple[list[LogRecord], int, int]:
        """Hand out samples by offset."""
        own = [r for r in self.samples if f"{r.topic}:{r.partition}" == name and r.offset >= self.first_kept]
        found = [r for r in own if offset <= r.offset < end][:limit]
        if not found:
            return [], end, end - offset
        return found, found[-1].offset + 1, found[0].offset - offset

    def tell(self, state: str, start_ms: int = HELD_START_MS) -> None:
        """Publish a profile."""
        profile = Profile(window_start_ms=start_ms, window_end_ms=start_ms + WINDOW_MS, state=state)
        self._append(QUALITY_TOPIC, encode_profile(profile))

    def order(self, order: str, start_ms: int = HELD_START_MS) -> None:
        """Give an order."""
        message = QualityOrder(
            idempotency_key="k",
            name="test",
            order=order,
            window_start_ms=start_ms,
            window_end_ms=start_ms + WINDOW_MS,
        )
        self._append(CONTROL_TOPIC, msgspec.json.encode(message))

    def _append(self, topic: str, value: bytes) -> None:
        offset = sum(record.topic == topic for record in self.told)
        self.told.append(LogRecord(topic, 0, offset, b"", value, 0))


class SampleFeed(ListLog):
    """A log that hands out ten samples a poll, and no end to reckon a lag from."""

    def __init__(self, records: list[LogRecord], every: list[LogRecord]) -> None:
        super().__init__(every, size=10)
        self.left = records

    def start(self, offsets: Mapping[str, int], topic_ids: Mapping[str, str]) -> bool:
        """Begin with what the test wants."""
        return True

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Hand out the next few."""
        taken, self.left = self.left[:10], self.left[10:]
        return taken

    def end_offsets(self) -> dict[str, int]:
        """Nothing to tell."""
        return {}


class World:
    """One trainer over a fixed stream, half of which lies in the window that may be held."""

    def __init__(self, app: AppConfig, directory: Path, size: int = 60) -> None:
        self.app, self.directory = app, directory
        self.config = TrainerConfig(
            learner=LearnerConfig(embedding_dim=8, retrieval_negatives=16), min_batch_samples=5, batch_wait_ms=0
        )
        maker = OnlineLearner(app, self.config.learner)
        stream = [
            sample if sample.broker_time_ms else msgspec.structs.replace(sample, broker_time_ms=sample.event_time_ms)
            for sample in sample_stream(maker, size)
        ]
        self.is_in_window = [HELD_START_MS <= (s.broker_time_ms or 0) < HELD_START_MS + WINDOW_MS for s in stream]
        raw = [msgspec.json.encode(sample) for sample in stream]
        self.records = [LogRecord(SAMPLES_TOPIC, i % 2, i // 2, b"", value, 0) for i, value in enumerate(raw)]
        self.hold_log = FakeHoldLog(self.records)

    def start(self, records: list[LogRecord] | None = None) -> Trainer:
        """Start a trainer from the newest checkpoint."""
        self.learner = OnlineLearner(self.app, self.config.learner)
        self.holds = Holds("test", self.hold_log, clock_s=iter(range(10**6)).__next__)
        self.feed = SampleFeed(self.records if records is None else records, self.records)
        places = Places(self.directory, LocalVersions(self.directory / "models"))
        startup = Startup(self.learner, self.config, places, self.holds)
        trainer = startup.open_trainer(self.feed, MemoryTopics(), reads_ahead=False)
        assert trainer is not None
        trainer.catch_up_holds(lambda: False)
        return trainer

    def run(self, trainer: Trainer, turns: int = 40) -> None:
        """Let it take turns."""
        for _ in range(turns):
            trainer.take_turn()


@pytest.fixture
def world(app: AppConfig, tmp_path: Path) -> World:
    """A world whose window is held before anything is read."""
    world = World(app, tmp_path)
    world.hold_log.tell(HELD)
    return world


def learnt(world: World) -> set[bytes]:
    """What is learnt once, less the marks of held events."""
    return set(map(bytes, world.learner.learnt_once.array()))


def test_held_samples_count_and_teach_nothing(world: World, app: AppConfig, tmp_path: Path) -> None:
    """Tables equal those of a trainer without holds; the weights are those of one that never saw the window."""
    world.run(world.start())
    free = World(app, tmp_path / "free")
    free.run(free.start())
    now_ms = START_MS + 100_000
    assert world.learner.progress.held == sum(world.is_in_window) > 10
    assert np.array_equal(world.learner.builder.items.counts(now_ms), free.learner.builder.items.counts(now_ms))
    assert world.learner.progress.events == free.learner.progress.events


def test_all_held_leaves_the_weights_as_they_were(world: World) -> None:
    """A stream that lies in the window entirely changes no weight."""
    only_held = [record for record, is_in in zip(world.records, world.is_in_window, strict=True) if is_in]
    trainer = world.start(only_held)
    before = {name: array.copy() for name, array in world.learner.model.dense().items()}
    world.run(trainer)
    assert all(np.array_equal(array, before[name]) for name, array in world.learner.model.dense().items())
    assert len(world.learner.weights.tower.user_rows) == 0


@pytest.mark.parametrize("how", ["CLEAN", "quality_release"])
def test_released_window_is_learnt_once(world: World, how: str) -> None:
    """Cleared by the job or released by ops, every sample of it is read again and learnt, and no event counts twice."""
    trainer = world.start()
    world.run(trainer)
    events = world.learner.progress.events
    world.hold_log.tell(how) if how == "CLEAN" else world.hold_log.order(how)
    world.run(trainer)
    assert world.learner.progress.released == sum(world.is_in_window)
    assert world.learner.progress.events == events
    assert world.holds.status()["deferred_windows"] == 0


def test_release_twice_and_read_twice_learns_once(world: World) -> None:
    """The same samples handed to the learner again change nothing."""
    trainer = world.start()
    world.run(trainer)
    world.hold_log.order("quality_release")
    world.run(trainer)
    keys, dense = learnt(world), {name: a.copy() for name, a in world.learner.model.dense().items()}
    world.learner.learn_released([decode_sample(record.value or b"") for record in world.records])
    assert learnt(world) == keys
    assert all(np.array_equal(a, dense[name]) for name, a in world.learner.model.dense().items())


def test_released_labels_are_those_of_a_trainer_without_holds(world: World, app: AppConfig, tmp_path: Path) -> None:
    """Every (request, item, label) and every event that a free trainer learns is learnt after the release."""
    trainer = world.start()
    world.run(trainer)
    world.hold_log.order("quality_release")
    world.run(trainer)
    free = World(app, tmp_path / "free")
    free.run(free.start())
    assert learnt(free) <= learnt(world)


def test_dropped_window_is_forgotten_for_good(world: World) -> None:
    """After a drop nothing of it is learnt, a later release included, and late samples of it are passed over too."""
    trainer = world.start(world.records[:45])
    world.run(trainer)
    world.hold_log.order("quality_drop")
    world.run(trainer)
    world.hold_log.order("quality_release")
    world.feed.left = world.records[45:]
    world.run(trainer)
    assert world.learner.progress.released == 0
    assert world.learner.progress.held == sum(world.is_in_window)


def test_deferred_ranges_survive_a_kill(world: World) -> None:
    """A trainer that starts from a checkpoint learns what the one before it had deferred."""
    first = world.start()
    world.run(first)
    first.checkpoint()
    first.close()
    world.hold_log.order("quality_release")
    world.run(world.start(records=[]))
    assert world.learner.progress.released == sum(world.is_in_window)


def test_what_retention_took_is_told(world: World) -> None:
    """Deferred records that are gone are counted as lost, and the rest is learnt."""
    trainer = world.start()
    world.run(trainer)
    world.hold_log.first_kept = 15
    world.hold_log.order("quality_release")
    world.run(trainer)
    gone = sum(is_in and record.offset < 15 for record, is_in in zip(world.records, world.is_in_window, strict=True))
    assert world.holds.lost >= gone > 0
    assert world.learner.progress.released == sum(world.is_in_window) - gone


def test_no_source_holds_nothing(world: World) -> None:
    """Switched off, every sample is learnt."""
    holds = Holds("test")
    assert list(holds.catch_up(lambda: False)) == []
    assert holds.news() is None
    assert not holds.defer(HELD_START_MS, world.records[0])
