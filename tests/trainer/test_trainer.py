"""The loop: offsets follow what was learnt, a restart goes on where the checkpoint stands, nothing is learnt twice."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from features.config import AppConfig
from tests.trainer.conftest import START_MS, ListLog, organic, sample_stream
from tests.trainer.memory_topics import MemoryTopics
from trainer.checkpoint import CheckpointStore
from trainer.config import LearnerConfig, TrainerConfig
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, LogRecord
from trainer.startup import Places, Startup
from trainer.trainer import Trainer
from trainer.version_files import LocalVersions, list_versions, read_version


class World:
    """One state directory that trainers start from and die over."""

    def __init__(self, app: AppConfig, directory: Path, records: list[LogRecord]) -> None:
        self.app = app
        self.directory = directory
        self.records = records
        self.config = TrainerConfig(
            learner=LearnerConfig(embedding_dim=8, retrieval_negatives=16), min_batch_samples=5, batch_wait_ms=0
        )

    def start(self) -> Trainer:
        """Start a trainer as `__main__` does: from the newest checkpoint and batch log, in a new epoch."""
        self.learner = OnlineLearner(self.app, self.config.learner)
        self.log = ListLog(self.records)
        places = Places(self.directory, LocalVersions(self.directory / "models"))
        self.startup = Startup(self.learner, self.config, places, Holds("test"))
        trainer = self.startup.open_trainer(self.log, MemoryTopics(), reads_ahead=False)
        assert trainer is not None
        return trainer

    def run_to_the_end(self, trainer: Trainer) -> None:
        """Run until the log is drained, then stop in good order."""
        turns = iter(range(1000))
        trainer.run(lambda: self.log.is_empty and next(turns) > 2, lambda: None, catch_up_first=False)


def _records(app: AppConfig, size: int = 60) -> list[LogRecord]:
    learner = OnlineLearner(app, LearnerConfig(embedding_dim=8))
    stream = [msgspec.json.encode(sample) for sample in sample_stream(learner, size)]
    return [LogRecord(SAMPLES_TOPIC, i % 2, i // 2, b"", raw, 0) for i, raw in enumerate(stream)]


def test_everything_is_learnt_published_and_checkpointed(app: AppConfig, tmp_path: Path) -> None:
    """After a run the checkpoint stands at the end of the log and a version covers it."""
    world = World(app, tmp_path, _records(app))
    world.run_to_the_end(world.start())
    checkpoint = CheckpointStore(tmp_path / "trainer" / "checkpoints", keep=3).read_newest()
    assert checkpoint is not None
    assert checkpoint.offsets == world.log.end_offsets()
    assert checkpoint.state.progress.samples == len(world.records)
    assert str(list_versions(tmp_path / "models")[0]) == "1.0"


def test_killed_trainer_learns_each_sample_once(app: AppConfig, tmp_path: Path) -> None:
    """Killed after a checkpoint and more learning, the next one learns the rest and nothing twice."""
    world = World(app, tmp_path, _records(app))
    first = world.start()
    for _ in range(3):
        first.take_turn()
    first.checkpoint()
    for _ in range(2):
        first.take_turn()  # Learnt, but lost with the process.
    first.close()
    world.run_to_the_end(world.start())
    expected = World(app, tmp_path / "whole", world.records)
    expected.run_to_the_end(expected.start())
    assert world.learner.progress.events == expected.learner.progress.events
    assert set(map(bytes, world.learner.learnt_once.array())) == set(map(bytes, expected.learner.learnt_once.array()))


def test_log_read_again_from_the_start_changes_no_counter(app: AppConfig, tmp_path: Path) -> None:
    """Replaying the whole log after a restart counts every event once."""
    world = World(app, tmp_path, _records(app))
    world.run_to_the_end(world.start())
    events, counts = world.learner.progress.events, world.learner.builder.items.counts(2_000_000_000_000)
    world.records += [record._replace(offset=record.offset + 1000) for record in world.records]
    world.run_to_the_end(world.start())
    assert world.learner.progress.events == events
    assert np.array_equal(world.learner.builder.items.counts(2_000_000_000_000), counts)


def test_poison_is_counted_and_passed(app: AppConfig, tmp_path: Path) -> None:
    """A message that is no sample moves the offset and nothing else."""
    poison = [LogRecord(SAMPLES_TOPIC, 0, i, None, raw, 0) for i, raw in enumerate([b"{", b"", b"[1]"])]
    items = [b"nonsense", b'{"item_id": "a", "published_time_ms": 10000000000000000000}']
    poison += [LogRecord(ITEMS_TOPIC, 0, i, b"a", raw, 0) for i, raw in enumerate(items)]
    world = World(app, tmp_path, poison)
    world.run_to_the_end(world.start())
    assert world.learner.progress.refused == {"not_a_sample": 3, "not_an_item": 2}
    checkpoint = CheckpointStore(tmp_path / "trainer" / "checkpoints", keep=3).read_newest()
    assert checkpoint is not None
    assert checkpoint.offsets == world.log.end_offsets()


def test_items_come_with_their_categories_into_the_version(app: AppConfig, tmp_path: Path) -> None:
    """An announced item is in the index before anybody had an event with it; a null takes it out of lists."""
    item = msgspec.json.encode({"item_id": "new", "categories": ["drama"], "title": "New"})
    records = [LogRecord(ITEMS_TOPIC, 0, 0, b"new", item, 0), LogRecord(ITEMS_TOPIC, 0, 1, b"gone", None, 0)]
    world = World(app, tmp_path, records)
    trainer = world.start()
    trainer.take_turn()
    trainer.take_turn()
    trainer.publish()
    trainer.close()
    version = read_version(tmp_path / "models", str(list_versions(tmp_path / "models")[-1]))
    assert list(version.item_ids) == ["new", "gone"]
    assert world.learner.builder.items.available(0).tolist() == [True, False]


def test_untrained_model_waits_until_the_log_is_learnt(app: AppConfig, tmp_path: Path) -> None:
    """Learning anew beside older versions, the first version knows the whole log."""
    world = World(app, tmp_path, _records(app))
    trainer = world.start()
    trainer.run(lambda: world.log.is_empty, lambda: None, catch_up_first=True)
    first = read_version(tmp_path / "models", str(list_versions(tmp_path / "models")[0]))
    assert first.manifest.sample_offsets == world.log.end_offsets()


def test_repetition_from_before_what_is_remembered_is_refused(app: AppConfig, tmp_path: Path) -> None:
    """Behind the correction horizon and an hour nobody knows what was learnt: counted, not learnt again."""
    hour_ms = 3_600_000
    first, late = organic(1, 1, 1), organic(2, 1, 2)
    later = msgspec.structs.replace(late, broker_time_ms=START_MS + 26 * hour_ms, event_time_ms=START_MS + 26 * hour_ms)
    stream = [first, *[later] * 6, first]
    raw = [msgspec.json.encode(sample) for sample in stream]
    records = [LogRecord(SAMPLES_TOPIC, 0, offset, b"", value, 0) for offset, value in enumerate(raw)]
    world = World(app, tmp_path, records)
    world.run_to_the_end(world.start())
    assert world.learner.progress.refused == {"too_old": 1}
    assert (world.learner.progress.events, world.learner.progress.duplicates) == (2, 5)


def test_clock_from_the_future_is_no_clock(app: AppConfig, tmp_path: Path) -> None:
    """A broker time far ahead of Kafka's own time for the record would make all that follows too old."""
    ahead = msgspec.structs.replace(organic(1, 1, 1), broker_time_ms=START_MS + 10**11)
    raw = [msgspec.json.encode(sample) for sample in (ahead, organic(2, 1, 1))]
    records = [LogRecord(SAMPLES_TOPIC, 0, offset, b"", value, START_MS) for offset, value in enumerate(raw)]
    world = World(app, tmp_path, records)
    world.run_to_the_end(world.start())
    assert world.learner.progress.refused == {"bad_time": 1}
    assert world.learner.progress.events == 1
