"""A restart repeats the batch log: same batches, same order, same bits; and says so where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from features.config import AppConfig, SurfaceConfig
from features.declared_features import DeclaredFeature
from features.label_config import derived_labels
from tests.faults.killed_trainer import digest_of
from tests.trainer.conftest import ListLog, make_version, sample_stream
from tests.trainer.memory_topics import MemoryTopics
from trainer.batch_log import read_log
from trainer.batch_machine import BatchMachine
from trainer.batch_records import BatchEntry, StartEntry
from trainer.config import LearnerConfig, TrainerConfig, UserRowsConfig, config_hash
from trainer.gaps import CHANGED, MISSING, RECREATED, RETENTION, Gap
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.sample_log import SAMPLES_TOPIC, LogRecord
from trainer.startup import Places, Startup
from trainer.trainer import Trainer
from trainer.version_files import LocalVersions, encode_version


class Life:
    """A state directory over which trainers start and end without a word.

    Args:
        app: of the learner.
        directory: of the state.
        size: events of the stream.
        user_rows: bound, admission and expiry.
    """

    def __init__(
        self, app: AppConfig, directory: Path, size: int = 120, user_rows: UserRowsConfig | None = None
    ) -> None:
        self.app = app
        self.config = TrainerConfig(
            learner=LearnerConfig(embedding_dim=8, retrieval_negatives=16, user_rows=user_rows or UserRowsConfig()),
            min_batch_samples=5,
            batch_wait_ms=0,
            keep_batch_log_h=1.0,
            # Versions and checkpoints come when a test says so, however slow the machine.
            publish_interval_s=3600.0,
            checkpoint_interval_s=3600.0,
        )
        self.places = Places(directory, LocalVersions(directory / "models"))
        stream = [msgspec.json.encode(s) for s in sample_stream(OnlineLearner(app, self.config.learner), size)]
        self.records = [LogRecord(SAMPLES_TOPIC, i % 2, i // 2, b"", raw, 0) for i, raw in enumerate(stream)]
        self.log = ListLog(self.records)
        self.starts = 0

    def start(self) -> Trainer:
        """Start a trainer; the log hands out batches of another size than the one before did."""
        self.learner = OnlineLearner(self.app, self.config.learner)
        self.log = self._log()
        self.startup = Startup(self.learner, self.config, self.places, Holds("test"))
        trainer = self.startup.open_trainer(self.log, MemoryTopics(), reads_ahead=False)
        assert trainer is not None
        return trainer

    def _log(self) -> ListLog:
        self.starts += 1
        log = ListLog(self.records, size=4 + 3 * self.starts)
        log.first_kept, log.topic_ids = dict(self.log.first_kept), dict(self.log.topic_ids)
        return log

    def learn(self, turns: int) -> Trainer:
        """Start, take some turns, die."""
        trainer = self.start()
        for _ in range(turns):
            trainer.take_turn()
        trainer.close()
        return trainer

    def digest(self) -> str:
        """Hash what was learnt last."""
        machine = self.startup.machine
        return digest_of(machine.learner.state(), machine.offsets, machine.holds)

    def uninterrupted(self) -> str:
        """Hash what one run over the whole batch log learns."""
        machine = BatchMachine(OnlineLearner(self.app, self.config.learner), Holds("test"))
        content = read_log(self.places.batch_log, 0)
        Replay(machine, ListLog(self.records)).apply_all(content.entries)
        return digest_of(machine.learner.state(), machine.offsets, machine.holds)

    def status(self) -> dict[str, Any]:
        """Read the status file."""
        status: dict[str, Any] = json.loads(self.places.status.read_text())
        return status


@pytest.fixture
def life(app: AppConfig, tmp_path: Path) -> Life:
    """A stream and an empty state directory."""
    return Life(app, tmp_path)


def test_killed_before_the_first_checkpoint_learns_the_same_again(life: Life) -> None:
    """The batch log alone is enough."""
    life.learn(5)
    before = life.digest()
    life.start()
    assert life.digest() == before == life.uninterrupted()


def test_killed_at_any_time_equals_one_run(life: Life) -> None:
    """Three lives with checkpoints in different places, and batches of different sizes."""
    _live_three_times(life)
    before = life.digest()
    life.start()
    assert life.digest() == before == life.uninterrupted()


def test_rows_that_come_and_go_are_exact_too(app: AppConfig, tmp_path: Path) -> None:
    """Users wait for their row, lose it after two seconds or to another, and all of it is repeated."""
    life = Life(app, tmp_path, user_rows=UserRowsConfig(max_rows=6, admit_after=2, expire_after_h=2 / 3600))
    _live_three_times(life)
    before, moves = life.digest(), life.learner.weights.tower.user_rows.metrics()
    life.start()
    assert life.digest() == before == life.uninterrupted()
    assert min(moves.values()) > 0


def _live_three_times(life: Life) -> None:
    for turns in (3, 4, 2):
        trainer = life.start()
        for _ in range(turns):
            trainer.take_turn()
        trainer.checkpoint()
        trainer.take_turn()
        trainer.publish()
        trainer.close()


def test_killed_while_catching_up_still_knows_too_little_to_publish(life: Life) -> None:
    """Beside versions of an earlier trainer, what was never published waits until the log is learnt; then no more."""
    life.places.store.put(encode_version(make_version("1.0")))
    trainer = life.start()
    for _ in range(3):
        trainer._learn_when_due()
    trainer.checkpoint()
    trainer._learn_when_due()
    trainer.close()
    trainer = life.start()
    assert life.startup.is_anew
    trainer.publish()
    trainer.close()
    life.start()
    assert not life.startup.is_anew


def test_epoch_rises_with_every_start_even_without_a_version(life: Life) -> None:
    """Starts that publish nothing take a number all the same."""
    for _ in range(3):
        life.learn(1)
    entries = read_log(life.places.batch_log, 0).entries
    assert [entry.epoch for entry in entries if isinstance(entry, StartEntry)] == [1, 2, 3]


@pytest.mark.parametrize("name", ["arrays.safetensors", "names.json", "checkpoint.json", "checkpoint.sha256"])
def test_bad_newest_checkpoint_costs_no_bit(life: Life, name: str) -> None:
    """From the checkpoint before, the longer way through the batch log leads to the same weights, and it is said."""
    for turns in (3, 3):
        trainer = life.start()
        for _ in range(turns):
            trainer.take_turn()
        trainer.checkpoint()
        trainer.close()
    before = life.digest()
    path = life.places.checkpoints / "000000000002" / name
    path.write_bytes(path.read_bytes()[:-3])
    trainer = life.start()
    trainer.take_turn()
    assert life.uninterrupted() == life.digest() != before
    assert life.startup.machine.offsets != {}
    assert "000000000002" in life.status()["checkpoints"]["refused"][0]


def test_records_that_retention_took_are_told(life: Life) -> None:
    """What the log says was learnt and Kafka no longer has: learnt without, counted, in status and metrics."""
    life.learn(6)
    life.log.first_kept = {f"{SAMPLES_TOPIC}:0": 4}
    trainer = life.start()
    trainer.take_turn()
    status = life.status()
    assert {gap["reason"] for gap in status["gaps"]["recent"]} == {MISSING}
    assert status["gaps"]["lost"] == status["lost_samples"] == 4
    assert not status["replay"]["is_exact"]
    assert "headrace_trainer_lost_records_total 4.0\n" in life.places.status.with_suffix(".prom").read_text()


def test_other_records_at_the_same_offsets_are_told(life: Life) -> None:
    """A topic cut and written again has other records where learnt ones were."""
    life.learn(6)
    life.records[2] = life.records[2]._replace(value=life.records[3].value)
    life.start()
    gaps = life.startup.machine.gaps.saved()["recent"]
    assert [gap["reason"] for gap in gaps] == [CHANGED]


def test_topic_made_anew_is_not_read_for_the_old_one(life: Life) -> None:
    """Offsets of the batch log belong to a topic id; those of another are not learnt in their place."""
    life.log.topic_ids = {SAMPLES_TOPIC: "id-1"}
    life.learn(3)
    learnt = life.learner.progress.samples
    life.log.topic_ids = {SAMPLES_TOPIC: "id-2"}
    life.start()
    machine = life.startup.machine
    assert (learnt, life.learner.progress.samples) == (machine.gaps.lost, 0)


def test_gap_while_stopped_is_an_entry_and_counted_once(life: Life) -> None:
    """Retention passed a stopped trainer: told at the start, in the batch log, and not again at the next start."""
    trainer = life.learn(3)
    life.log.first_kept = {f"{SAMPLES_TOPIC}:1": 40}
    trainer = life.start()
    trainer.take_turn()
    trainer.checkpoint()
    trainer.close()
    first = life.startup.machine.gaps.saved()
    life.learn(1)
    retained = [gap for gap in first["recent"] if gap["reason"] == RETENTION]
    assert [(gap["name"], gap["end"]) for gap in retained] == [(f"{SAMPLES_TOPIC}:1", 40)]
    assert life.startup.machine.gaps.saved() == first


def test_recreated_topic_is_learnt_from_its_beginning_after_a_kill(life: Life) -> None:
    """The gap entry moves the offsets, so a kill right behind it does not bring the old ones back."""
    life.learn(4)
    machine = life.startup.machine
    name = f"{SAMPLES_TOPIC}:0"
    assert machine.offsets[name] > 0
    machine.note_gap(Gap(name, 0, machine.offsets[name], RECREATED, resume=0, topic_id="new"))
    assert (machine.offsets[name], machine.topic_ids[SAMPLES_TOPIC]) == (0, "new")


def test_other_configuration_sets_the_batch_log_aside_too(life: Life) -> None:
    """Batches of another model are not repeated with this one."""
    life.learn(3)
    life.config = life.config.model_copy(update={"learner": LearnerConfig(embedding_dim=4)})
    life.start()
    assert life.learner.progress.samples == 0
    assert (life.places.batch_log.with_name("batch_log.old-1")).is_dir()


def test_columns_in_another_order_are_another_configuration(life: Life) -> None:
    """Weights are by place: a checkpoint of features in their former order must not be taken for one of these."""
    declared = {f"user_{name}": DeclaredFeature(entity="user", aggregation="count") for name in "ab"}
    apps = []
    for order in (declared, dict(reversed(declared.items()))):
        features = life.app.features.model_copy(update={"declared": order})
        apps.append(life.app.model_copy(update={"features": features}))
    labels = derived_labels(life.app)
    assert len({config_hash(app, life.config.learner, labels) for app in (life.app, *apps)}) == 3


def test_settings_that_no_weight_depends_on_keep_the_model(life: Life) -> None:
    """Another surface, horizon or log of features is no other model."""
    life.learn(3)
    samples = life.learner.progress.samples
    features = life.app.features.model_copy(update={"horizon_h": 48.0, "forget_after_days": 90.0})
    life.app = life.app.model_copy(update={"features": features, "surfaces": {"home": SurfaceConfig()}})
    life.start()
    assert life.learner.progress.samples == samples > 0


def test_every_sample_stands_in_one_batch(life: Life) -> None:
    """Over lives and deaths the log names every offset once."""
    for turns in (4, 1, 30):
        life.learn(turns)
    entries = [entry for entry in read_log(life.places.batch_log, 0).entries if isinstance(entry, BatchEntry)]
    named = sorted((run.name, offset) for e in entries for run in e.runs for offset in range(run.first, run.end))
    assert named == sorted((record.name, record.offset) for record in life.records)
