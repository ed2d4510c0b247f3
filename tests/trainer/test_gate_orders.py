"""A held version stops publishing and nothing else; `release` and `reject` end that, over kills too."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from features.config import AppConfig
from features.quality.hold_table import CONTROL_TOPIC
from tests.faults.killed_trainer import digest_of
from tests.trainer.conftest import ListLog
from tests.trainer.test_restart import Life
from trainer.batch_log import read_log
from trainer.batch_machine import BatchMachine
from trainer.batch_records import BatchEntry, CutEntry, HoldRecord, HoldsEntry, RejectEntry
from trainer.gate import Gate
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.trainer import Trainer


@pytest.fixture
def life(app: AppConfig, tmp_path: Path) -> Life:
    """A stream and an empty state directory."""
    return Life(app, tmp_path)


def _hold(life: Life, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Publish a good version, learn more, and have the next one held."""
    trainer = life.start()
    trainer.take_turn()
    trainer.begin()
    for _ in range(3):
        trainer.take_turn()
    with monkeypatch.context() as patch:
        patch.setattr(Gate, "judge", lambda *_: "planted")
        trainer.publish()
    trainer._publisher.wait(timeout_s=10.0)
    return trainer


def _order(trainer: Trainer, order: str, version: str = "") -> None:
    value = msgspec.json.encode({"name": "test", "order": order, "version": version, "role": "ops"}).decode()
    entry = HoldsEntry([HoldRecord(CONTROL_TOPIC, 0, 0, value)], {})
    trainer._batch_log.append(entry)
    trainer._machine.follow_holds(entry)


def _learnt(life: Life) -> str:
    return digest_of(life.learner.state(), {}, Holds("test"))


def test_held_version_stops_publishing_and_not_learning(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is announced as HELD with its reason, told in the status file, and no version follows."""
    trainer = _hold(life, monkeypatch)
    learnt = life.learner.progress.samples
    announced = trainer._publisher._topics.announced  # type: ignore[attr-defined]
    assert [(said.gate, said.gate_reason) for said in announced] == [("PASSED", ""), ("HELD", "planted")]
    trainer._config = trainer._config.model_copy(update={"publish_interval_s": 0.0})
    for _ in range(3):
        trainer.take_turn()
    trainer._status._written_s = 0.0
    trainer._status.write_when_due(
        trainer._machine, trainer._publisher, trainer._batch_log, trainer._log, trainer._report
    )
    trainer.close()
    assert life.learner.progress.samples > learnt
    assert len(announced) == 2
    gate = json.loads(life.places.status.read_text())["gate"]
    assert (gate["state"], gate["reason"]) == ("HELD", "planted")


def test_killed_while_held_is_held_again_and_equal(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision stands in the batch log: no judgement is needed to know it again."""
    _hold(life, monkeypatch).close()
    before = life.digest()
    trainer = life.start()
    assert trainer._machine.gate.held is not None
    assert (trainer._machine.gate.held.reason, life.digest()) == ("planted", before)
    trainer.close()


def test_release_publishes_what_the_learner_is_now(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order about another version is passed over; the right one brings a snapshot that passed."""
    trainer = _hold(life, monkeypatch)
    _order(trainer, "release", "9.9")
    assert not trainer._machine.gate.may_publish
    _order(trainer, "release", "1.1")
    trainer.publish()
    trainer._publisher.wait(timeout_s=10.0)
    announced = trainer._publisher._topics.announced  # type: ignore[attr-defined]
    trainer.close()
    assert (announced[-1].version, announced[-1].gate) == ("1.2", "PASSED")
    assert trainer._machine.gate.held is None


@pytest.mark.parametrize("is_killed", [False, True])
def test_rejected_samples_teach_nothing(life: Life, monkeypatch: pytest.MonkeyPatch, is_killed: bool) -> None:
    """Weights equal, bit for bit, those of a learner that was never given them, and learning goes on behind them."""
    trainer = _hold(life, monkeypatch)
    _order(trainer, "reject", "1.1")
    if is_killed:
        trainer.close()
        trainer = life.start()
    trainer.take_turn()
    assert trainer.wants_restart
    trainer.close()
    trainer = life.start()
    assert trainer._machine.gate.may_publish
    trainer.begin()
    for _ in range(3):
        trainer.take_turn()
    trainer.close()
    after = _learnt(life)
    assert after == _never_saw(life)
    life.start().close()
    assert _learnt(life) == after


def _never_saw(life: Life) -> str:
    """Learn the batches before the checkpoint that was gone back to, and those behind the rejection."""
    entries = read_log(life.places.batch_log, 0).entries
    (place,) = [place for place, entry in enumerate(entries) if isinstance(entry, RejectEntry)]
    reject = entries[place]
    assert isinstance(reject, RejectEntry)
    assert any(isinstance(entry, BatchEntry) for entry in entries[reject.position : place])
    learner = OnlineLearner(life.app, life.config.learner)
    wanted = [e for e in entries[: reject.position] + entries[place:] if isinstance(e, BatchEntry | CutEntry)]
    Replay(BatchMachine(learner, Holds("test")), ListLog(life.records)).apply_all(wanted)
    return digest_of(learner.state(), {}, Holds("test"))
