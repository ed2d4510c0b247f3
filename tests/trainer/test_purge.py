"""A purged window was never learnt: bits equal those of a learner that had no such samples, over kills too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from features.config import AppConfig
from features.quality.hold_table import CONTROL_TOPIC
from tests.faults.killed_trainer import digest_of
from tests.trainer.conftest import START_MS, ListLog
from tests.trainer.test_restart import Life
from trainer.batch_log import read_log
from trainer.batch_machine import BatchMachine
from trainer.batch_records import Entry, HoldRecord, HoldsEntry, PurgeEntry
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.sample_log import LogRecord
from trainer.trainer import Trainer

_POISON_MS = (START_MS + 2_000, START_MS + 5_000)
"""20 to 50 of the events of the stream, one every 100 ms."""


@pytest.fixture
def life(app: AppConfig, tmp_path: Path) -> Life:
    """A stream and an empty state directory."""
    return Life(app, tmp_path)


def _order(trainer: Trainer, **said: object) -> None:
    value = msgspec.json.encode({"name": "test", "role": "ops", **said}).decode()
    entry = HoldsEntry([HoldRecord(CONTROL_TOPIC, 0, 0, value)], {})
    trainer._batch_log.append(entry)
    trainer._machine.follow_holds(entry)


def _purge(trainer: Trainer, window: tuple[int, int] = _POISON_MS) -> None:
    _order(trainer, order="purge", window_start_ms=window[0], window_end_ms=window[1])


def _is_purged(record: LogRecord) -> bool:
    sample = msgspec.json.decode(record.value or b"")
    return _POISON_MS[0] <= (sample["broker_time_ms"] or 0) < _POISON_MS[1]


def _learnt(learner: OnlineLearner) -> str:
    return digest_of(learner.state(), {}, Holds("test"))


def _never_had(life: Life, wanted: Callable[[Entry], bool] = lambda _: True) -> str:
    """Learn the same batch log over a log of samples that lacks the purged ones."""
    entries = [entry for entry in read_log(life.places.batch_log, 0).entries if wanted(entry)]
    clean = [record for record in life.records if not _is_purged(record)]
    assert len(clean) < len(life.records)
    learner = OnlineLearner(life.app, life.config.learner)
    Replay(BatchMachine(learner, Holds("test")), ListLog(clean)).apply_all(entries)
    return _learnt(learner)


def _learn_and_purge(life: Life) -> Trainer:
    """Learn half of the stream with checkpoints on the way, and order the purge."""
    trainer = life.start()
    trainer.begin()
    for _ in range(12):
        trainer.take_turn()
        trainer.checkpoint()
    assert life.learner.progress.newest_broker_time_ms > _POISON_MS[1]
    _purge(trainer)
    return trainer


@pytest.mark.parametrize("is_killed", [False, True])
def test_weights_are_those_of_a_log_without_the_samples(life: Life, is_killed: bool) -> None:
    """Bit for bit, every table and metric too; what came behind the window is learnt, and learning goes on."""
    trainer = _learn_and_purge(life)
    poisoned = _learnt(life.learner)
    if is_killed:
        trainer.close()
        trainer = life.start()
    trainer.take_turn()
    assert trainer.wants_restart
    trainer.close()
    trainer = life.start()
    trainer.begin()
    for _ in range(3):
        trainer.take_turn()
    trainer.close()
    after = _learnt(life.learner)
    assert after == _never_had(life) != poisoned
    life.start().close()
    assert _learnt(life.learner) == after


def test_it_equals_a_run_that_was_never_ordered_to_purge(life: Life) -> None:
    """The order itself leaves no trace: batches and cuts over clean samples give the same bits."""
    trainer = _learn_and_purge(life)
    trainer.take_turn()
    trainer.close()
    life.start().close()
    assert _learnt(life.learner) == _never_had(life, lambda entry: not isinstance(entry, HoldsEntry | PurgeEntry))


def test_poisoned_checkpoints_are_gone_and_the_older_one_stays(life: Life) -> None:
    """Nothing that is kept on disk leads back to the window; the way back before it is still there."""
    trainer = _learn_and_purge(life)
    trainer.take_turn()
    trainer.close()
    (purge,) = [e for e in read_log(life.places.batch_log, 0).entries if isinstance(e, PurgeEntry)]
    trainer = life.start()
    trainer.begin()
    trainer.close()
    store = life.startup._checkpoints
    positions = [store._format_of(name).position for name in store._names()]
    assert positions[0] <= purge.position < positions[-1]
    assert life.startup._checkpoints.newest_untouched(_POISON_MS[0]) == purge.position


def test_window_ahead_of_what_is_learnt_needs_no_way_back(life: Life) -> None:
    """Its samples are passed over as they come, and counted."""
    trainer = life.start()
    trainer.begin()
    _purge(trainer)
    while not life.log.is_empty:
        trainer.take_turn()
    assert not trainer.wants_restart
    trainer.close()
    assert _learnt(life.learner) == _never_had(life)
    assert life.startup.machine.quarantine.passed_over == sum(map(_is_purged, life.records))


def test_window_beyond_all_checkpoints_stays_learnt_and_says_so(life: Life) -> None:
    """Nothing is half done: later samples of it are kept out, what is learnt stays, the status file says why."""
    life.config = life.config.model_copy(update={"purge_reach_h": 0.0, "keep_checkpoints": 1})
    trainer = _learn_and_purge(life)
    for path in sorted(life.places.checkpoints.iterdir())[:-1]:
        path.rename(path.with_name(f"bad-{path.name}"))
    trainer._status._written_s = 0.0
    trainer.take_turn()
    trainer._status._written_s = 0.0
    trainer.take_turn()
    assert not trainer.wants_restart
    trainer.close()
    status = json.loads(life.places.status.read_text())
    assert "purge_reach_h" in status["purge_error"]
    assert status["quarantine"]["waiting"] == [list(_POISON_MS)]


def test_forgotten_user_is_nowhere_in_the_state_and_starts_anew(life: Life) -> None:
    """History, counters, embedding row and ratings go; an event from after it makes a new user."""
    trainer = life.start()
    trainer.begin()
    for _ in range(12):
        trainer.take_turn()
    newest_ms = life.learner.progress.newest_broker_time_ms
    assert life.learner.weights.tower.user_rows.row("u3") is not None
    _order(trainer, order="forget", user_id="u3", time_ms=newest_ms)
    state = life.learner.state()
    assert [name for name, column in state.names.items() if "u3" in column] == []
    assert not life.learner.builder.users.state("u3", newest_ms).is_known
    while not life.log.is_empty:
        trainer.take_turn()
    later = [s for s in map(_sample, life.records) if s["user_id"] == "u3" and (s["broker_time_ms"] or 0) > newest_ms]
    known = life.learner.builder.users.state("u3", newest_ms + 3_600_000)
    organic = {s["items"][0]["item_id"] for s in later}
    trainer.close()
    assert set(known.history_item_ids) <= organic
    assert life.learner.builder.users.state("u4", newest_ms).is_known


def _sample(record: LogRecord) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(record.value or b"")
    return decoded


def test_forgetting_is_repeated_by_a_restart(life: Life) -> None:
    """It stands in the batch log before it takes effect, so kills change nothing."""
    trainer = life.start()
    trainer.begin()
    for _ in range(6):
        trainer.take_turn()
    _order(trainer, order="forget", user_id="u3", time_ms=life.learner.progress.newest_broker_time_ms)
    for _ in range(4):
        trainer.take_turn()
    trainer.close()
    before = life.digest()
    life.start().close()
    assert life.digest() == before == life.uninterrupted()


@pytest.mark.parametrize(
    "said",
    [
        {"order": "purge", "window_start_ms": 5, "window_end_ms": 5},
        {"order": "purge", "window_start_ms": "now", "window_end_ms": 5},
        {"order": "forget", "user_id": "", "time_ms": 1},
        {"order": "forget", "user_id": "u3"},
        {"order": "purge", "window_start_ms": 1, "window_end_ms": 2, "name": "other"},
    ],
)
def test_what_is_no_order_changes_nothing(life: Life, said: dict[str, object]) -> None:
    """Orders without a window, a user or a time, and those of another model, are passed over."""
    trainer = life.start()
    before = trainer._machine.quarantine.status()
    _order(trainer, **said)
    trainer.close()
    assert trainer._machine.quarantine.status() == before
