"""A history and the live stream behind it are one run, and whatever ends the warm start leaves the old state."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from features.config import AppConfig
from tests.faults.killed_trainer import FailPoint, digest_of, run_in_process
from tests.trainer.conftest import START_MS, ListLog, organic, sample_stream
from tests.trainer.memory_topics import MemoryTopics
from trainer.batch_log import BatchLog, read_log
from trainer.batch_machine import BatchMachine
from trainer.batch_records import BaseEntry
from trainer.config import LearnerConfig, TrainerConfig, config_hash
from trainer.drift import DriftState
from trainer.errors import CheckpointError, StateBusyError
from trainer.history import Base, HistoryItems, learn_history, write_base
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.sample_log import SAMPLES_TOPIC, LogRecord
from trainer.startup import Places, Startup
from trainer.state_lock import lock_state
from trainer.trainer import Trainer
from trainer.version_files import LocalVersions

_CUT = 60


class WarmStart:
    """A state directory that a history was learnt into, and the topic that goes on from it.

    Of the stream's samples all before `_CUT` are the history; the topic holds them all, and two of the history again at
    its end, as a backfill would bring them.
    """

    def __init__(self, app: AppConfig, directory: Path) -> None:
        self.app = app
        self.config = TrainerConfig(
            learner=LearnerConfig(embedding_dim=8, retrieval_negatives=16), min_batch_samples=5, batch_wait_ms=0
        )
        self.places = Places(directory, LocalVersions(directory / "models"))
        self.stream = sample_stream(OnlineLearner(app, self.config.learner), 120)
        self.history = [sample for sample in self.stream[:_CUT] if sample.kind == "organic"]
        self.cut_ms = self.stream[_CUT].event_time_ms
        live = [*self.stream, *self.history[3:5]]
        times_ms = [*(sample.event_time_ms for sample in self.stream), *[self.stream[-1].event_time_ms + 1] * 2]
        self.records = [
            LogRecord(SAMPLES_TOPIC, i % 2, i // 2, b"", msgspec.json.encode(sample), time_ms)
            for i, (sample, time_ms) in enumerate(zip(live, times_ms, strict=True))
        ]

    def learnt(self) -> OnlineLearner:
        """Learn the history in memory."""
        learner = OnlineLearner(self.app, self.config.learner)
        learn_history(learner, self.history, HistoryItems({}), lambda _done: None)
        return learner

    def base(self, learner: OnlineLearner, cut_ms: int | None = None) -> Base:
        """Return what `learnt` learnt."""
        return Base(
            files=[],
            config_hash=config_hash(self.app, learner.config, learner.labels),
            first_time_ms=START_MS,
            newest_time_ms=self.cut_ms,
            trained_time_ms=self.cut_ms,
            live_from_ms=self.cut_ms if cut_ms is None else cut_ms,
        )

    def write(self) -> str:
        """Make the history the state."""
        learner = self.learnt()
        write_base(self.places, learner, self.base(learner), keep=3)
        return digest_of(learner.state(), {}, Holds("test"))

    def startup(self) -> Startup:
        """Begin a start."""
        return Startup(OnlineLearner(self.app, self.config.learner), self.config, self.places, Holds("test"))

    def start(self) -> Trainer:
        """Start a trainer over the topic."""
        self.machine = (startup := self.startup()).machine
        trainer = startup.open_trainer(ListLog(self.records), MemoryTopics(), reads_ahead=False)
        assert trainer is not None
        return trainer

    def learn(self, turns: int) -> Trainer:
        """Start a trainer, take some turns, and leave it."""
        trainer = self.start()
        for _ in range(turns):
            trainer.take_turn()
        trainer.close()
        return trainer

    def digest(self) -> str:
        """Hash what the newest trainer knows."""
        return digest_of(self.machine.learner.state(), self.machine.offsets, self.machine.holds)


@pytest.fixture
def warm(app: AppConfig, tmp_path: Path) -> WarmStart:
    """A history, learnt into an empty state."""
    warm = WarmStart(app, tmp_path)
    warm.write()
    return warm


def test_history_and_live_are_one_run(warm: WarmStart) -> None:
    """Bit for bit what one learner learns from both, batch for batch; killed before its first checkpoint too."""
    warm.learn(20)
    live = warm.digest()
    entries = read_log(warm.places.batch_log, 0).entries
    assert isinstance(entries[0], BaseEntry)
    one = BatchMachine(learner := warm.learnt(), Holds("test"))
    one.base = warm.base(learner).saved()
    Replay(one, ListLog(warm.records)).apply_all(entries)
    assert live == digest_of(learner.state(), one.offsets, one.holds)
    warm.learn(0)
    assert warm.digest() == live


def test_live_begins_at_the_cut_and_repeated_events_teach_once(warm: WarmStart) -> None:
    """What the broker took before the cut is not read; what a backfill brings again has its ids in memory."""
    warm.learn(20)
    progress = warm.machine.learner.progress
    assert progress.samples == len(warm.history) + len(warm.records) - _CUT
    assert progress.duplicates == 2
    of_live = [sample for sample in warm.stream[_CUT:] if sample.event is not None]
    assert progress.events == len(warm.history) + len(of_live)


def test_checkpoints_behind_the_history_still_tell_of_it(warm: WarmStart) -> None:
    """The base travels; a second start does not ask the topics again."""
    warm.start().checkpoint()
    restarted = warm.startup().machine
    assert restarted.base["live_from_ms"] == warm.cut_ms
    assert not restarted.needs_beginning


def test_partition_without_a_record_since_the_cut_begins_at_its_end(warm: WarmStart) -> None:
    """A history that is newer than all of Kafka has nothing read again."""
    learner = warm.learnt()
    write_base(warm.places, learner, warm.base(learner, cut_ms=warm.cut_ms + 10**9), keep=3)
    warm.learn(5)
    assert warm.machine.learner.progress.samples == len(warm.history)


def test_log_without_its_history_is_refused(warm: WarmStart) -> None:
    """Live batches on an empty model would be other weights, in silence."""
    warm.learn(3)
    warm.places.checkpoints.rename(warm.places.checkpoints.with_name("lost"))
    with pytest.raises(CheckpointError, match="put them back"):
        warm.startup()


def test_log_of_another_history_is_refused(warm: WarmStart) -> None:
    """Checkpoints of one state and the log of another are no state."""
    log = BatchLog(warm.places.batch_log)
    log.append(BaseEntry("other", 1, {}))
    log.close()
    with pytest.raises(CheckpointError, match="begins on history other"):
        warm.start()


@pytest.mark.parametrize("function", ["fsync", "rename"])
@pytest.mark.parametrize("is_after", [False, True])
def test_killed_while_it_replaces_leaves_the_old_state_or_the_new_one(
    app: AppConfig, warm: WarmStart, tmp_path: Path, function: str, is_after: bool
) -> None:
    """Every fsync and rename of the replacement is a moment to die at; a start follows each."""
    trainer = warm.start()
    trainer.take_turn()
    trainer.take_turn()
    trainer.checkpoint()
    trainer.close()
    del warm.history[20:]
    learner = warm.learnt()
    states = {warm.machine.learner.progress.events, learner.progress.events}
    found: set[int] = set()
    for number in range(1, 20):
        folder = tmp_path / f"{function}-{number}"
        shutil.copytree(tmp_path / "trainer", folder / "trainer")
        life = WarmStart(app, folder)
        point = FailPoint(function, number, is_after)
        pid = run_in_process(lambda life=life, point=point: _replace(life, learner, point))  # type: ignore[misc]
        was_killed = os.waitpid(pid, 0)[1] != 0
        life.learn(0)
        found.add(life.machine.learner.progress.events)
        if not was_killed:
            break
    assert (number > 2, found) == (True, states)


def _replace(life: WarmStart, learner: OnlineLearner, point: FailPoint) -> None:
    point.arm()
    write_base(life.places, learner, life.base(learner), keep=3)


def test_disk_that_refuses_leaves_the_old_state(warm: WarmStart, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch log that was set aside comes back."""
    warm.learn(3)
    log = read_log(warm.places.batch_log, 0).entries

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.checkpoint.write_directory", refuse)
    with pytest.raises(OSError, match="No space"):
        write_base(warm.places, learner := warm.learnt(), warm.base(learner), keep=3)
    assert read_log(warm.places.batch_log, 0).entries == log


def test_items_come_into_effect_when_published_or_with_their_first_event() -> None:
    """No list is built of an item that nobody could have shown yet."""
    records = {
        name: msgspec.json.encode({"item_id": name, "published_time_ms": published})
        for name, published in {"i1": 0, "i2": START_MS + 150, "i3": 0, "i4": START_MS + 10**6}.items()
    }
    items = HistoryItems(records)
    taken = [[name for name, _ in items.take([organic(index, 1, item)])] for index, item in enumerate([1, 5, 6, 1])]
    assert taken == [["i1"], [], ["i2"], []]
    assert items.left == 2


def test_freshly_trained_model_asks_for_no_fresh_one(warm: WarmStart) -> None:
    """A drift of the past is known to the model that learnt it: only what changes from here on asks again."""
    learner = OnlineLearner(warm.app, warm.config.learner)
    learner.drift.status = DriftState(alarms=1, alarm_step=3, reason="loss, ADWIN", wants_fresh_model=True)
    learn_history(learner, warm.history[:20], HistoryItems({}), lambda _done: None)
    assert learner.drift.status == DriftState(alarms=1, alarm_step=3, reason="loss, ADWIN")


def test_nothing_tells_which_item_comes_next(app: AppConfig) -> None:
    """A record that came into effect for the next event puts its item on no list; live, new items are listed."""
    learner = OnlineLearner(app, LearnerConfig(embedding_dim=8, retrieval_negatives=16))
    samples = [organic(index, user=index % 5, item=index) for index in range(120)]  # Every event on a new item.
    records = {f"i{index}": msgspec.json.encode({"item_id": f"i{index}", "categories": ["c"]}) for index in range(120)}
    learn_history(learner, samples, HistoryItems(records), lambda _done: None)
    assert learner.metrics.values()["candidate_recall"] == 0.0
    assert not learner.builder.only_seen


def test_a_killed_first_write_is_no_use_of_a_state(tmp_path: Path) -> None:
    """What it left begins with a dot, and the next start takes it away."""
    places = Places(tmp_path, LocalVersions(tmp_path / "models"))
    (places.checkpoints / ".000000000001.1.tmp").mkdir(parents=True)
    assert not places.is_used
    (places.checkpoints / "000000000001").mkdir()
    assert places.is_used


def test_two_processes_never_learn_in_one_state(tmp_path: Path) -> None:
    """The second is told; once the first has let go, there is room."""
    with lock_state(tmp_path), pytest.raises(StateBusyError, match="another trainer"):
        lock_state(tmp_path)
    lock_state(tmp_path).close()
