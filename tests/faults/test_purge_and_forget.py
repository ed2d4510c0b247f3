"""`headrace purge` and `headrace forget` as one types them, whole, on a real stack with Flink, in one story.

Loyal users, then a bot that pushes one item for a while, then loyal users again. Behind a purge of that while every
feature must be that of a plain replay without its events, and behind a forgotten user without theirs; at the end the
weights must be, bit for bit, those of the same batch log over samples that never had the window's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from typer.testing import CliRunner

from compose.cli import app
from compose.dlq_letters import Selection, read_letters
from compose.local_stack import LocalStack
from features.config import load_app_config, load_section
from features.feature_log_files import LOG_FOLDER
from features.label_config import load_labels
from tests.faults.killed_trainer import digest_of
from tests.oracle.checker import Findings, Oracle
from tests.oracle.online_reader import OnlineReader
from tests.oracle.oracle_stack import PARTS, OracleStack, write_config
from tests.oracle.plain_replay import global_row, rows_of
from tests.running_stack import wait_for
from tests.streams.event_maker import event, unique
from tests.streams.topic_io import EVENTS, ITEMS, SAMPLES, TopicIo
from trainer.batch_log import read_log
from trainer.batch_machine import BatchMachine
from trainer.checkpoint import CheckpointStore
from trainer.config import TrainerConfig
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.sample_log import LogRecord, SampleLog

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(1800)]
RUN = unique("p")
LOYAL = [f"{RUN}-u{number}" for number in range(6)]
GOODS = [f"{RUN}-i{number}" for number in range(9)]
BOT, JUNK = f"{RUN}-bot", f"{RUN}-junk"
ACTIONS = ("view", "click", "like", "purchase")
_SETTLE_S = 240.0


class Window(NamedTuple):
    """Broker times."""

    start_ms: int
    end_ms: int

    def holds(self, record_time_ms: int) -> bool:
        """Say whether a record lies in it."""
        return self.start_ms <= record_time_ms < self.end_ms


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[OracleStack]:
    """Everything that learns and counts; nobody serves."""
    torch.set_num_threads(1)
    path = write_config(tmp_path)
    config: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["stack"] = {"taskmanagers": 1, "task_slots": 4, "start_timeout_s": 1200}
    config["streams"] |= {"submit_timeout_s": 400, "checkpoint_interval_ms": 2000}
    config["features"]["feature_log"] = {"flush_s": 1.0}
    config["trainer"] = (config.get("trainer") or {}) | {"checkpoint_interval_s": 2.0, "keep_batch_log_h": 24.0}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    parts = [part for part in PARTS if part != "taskmanager-2"]
    with LocalStack(path, tmp_path / "state", parts=[*parts, "trainer"]) as local:
        yield OracleStack(local, path, config, local.start())


class _RowsWithValues(OnlineReader):
    """Passes over what is left of a deleted row: its version, so that an older one is refused."""

    def entities(self, prefix: str) -> set[tuple[str, str]]:
        """Return those of which anything can be read."""
        return {row for row in super().entities(prefix) if self._has_values(*row)}

    def _has_values(self, view: str, entity_id: str) -> bool:
        stored = self._client.hgetall(self._key(view, entity_id))
        return any(value for name, value in stored.items() if not name.startswith(b"_ts:"))


def _headrace(stack: OracleStack, *command: str) -> dict[str, Any]:
    places = ["--config", str(stack.config_path), "--endpoints", str(stack.local.endpoints_path)]
    done = CliRunner().invoke(app, [*command, "--yes", "--json", *places], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def _status(stack: OracleStack) -> dict[str, Any]:
    status: dict[str, Any] = msgspec.json.decode((Path(stack.endpoints.state) / "trainer.json").read_bytes())
    return status


def _send(io: TopicIo, stack: OracleStack, users: Collection[str], items: Collection[str], rounds: int) -> None:
    """Let each user do something with each item, and wait until it is learnt and lies in a checkpoint."""
    before = _status(stack)["progress"]["events"]
    for number in range(rounds):
        action = ACTIONS[number % len(ACTIONS)]
        io.send_all(EVENTS, [event(user, item, action, value=4.0) for user in users for item in items])
    sent = rounds * len(users) * len(items)
    wait_for(lambda: _status(stack)["progress"]["events"] >= before + sent, "all samples learnt", _SETTLE_S)
    end = _status(stack)["batch_log"]["position"]
    wait_for(lambda: _status(stack)["checkpoints"]["position"] >= end, "a checkpoint behind them", _SETTLE_S)


def _wait_equal(stack: OracleStack, oracle: Oracle, is_counted: Callable[[Mapping[str, Any]], bool]) -> int:
    """Wait until all rows and consumed sets are those of the events that count; return how many values those are."""
    findings = Findings()

    def is_equal() -> bool:
        nonlocal findings
        findings, config = Findings(), dict(stack.config)
        oracle.log.read_on()
        own = [one for one in oracle.log.events.values() if is_counted(one)]
        rows = rows_of(own, oracle.log.categories, {}, config)
        rows["global_activity", "all"] = global_row(own, config)
        oracle._judge_rows(rows, RUN, findings)
        oracle._judge_consumed(rows, own, findings)
        return findings.is_equal

    try:
        wait_for(is_equal, "features without what went", 120.0, pause_s=1.0)
    except AssertionError:
        pytest.fail(findings.report())
    return findings.values


class _LogWithout:
    """A log of samples that never had a window's."""

    def __init__(self, log: SampleLog, window: Window) -> None:
        self._log, self._window = log, window
        self.topic_ids = log.topic_ids

    def read_range(self, name: str, first: int, end: int) -> list[LogRecord] | None:
        """Leave the window's samples out."""
        found = self._log.read_range(name, first, end)
        return found if found is None or not name.startswith(SAMPLES) else list(filter(self._is_clean, found))

    def _is_clean(self, record: LogRecord) -> bool:
        broker_time_ms = msgspec.json.decode(record.value or b"{}").get("broker_time_ms") or 0
        return not self._window.holds(broker_time_ms)


def _learn_without(config: Path, state: Path, window: Window) -> str:
    """Learn the whole batch log over clean samples, in this process."""
    described = load_app_config(config)
    trainer = load_section(config, "trainer", TrainerConfig)
    learner = OnlineLearner(described, trainer.learner, labels=load_labels(config, described), gate=trainer.gate)
    with LocalStack(config, state, parts=["kafka", "topics"]) as local:
        log = SampleLog(local.start().kafka, 500)
        wait_for(log.find_topics, "the topics")
        entries = read_log(state / "trainer" / "batch_log", 0).entries
        assert Replay(BatchMachine(learner, Holds("headrace")), _LogWithout(log, window)).apply_all(entries)
        log.close()
    return digest_of(learner.state(), {}, Holds("headrace"))


def _purge(stack: OracleStack, io: TopicIo) -> Window:
    """Have a bot push an item, others go on, and the bot's while taken out."""
    start_ms = io.send(ITEMS, JUNK, {"item_id": JUNK, "categories": ["junk"]}).record_time_ms + 1
    time.sleep(0.05)
    _send(io, stack, [BOT, *LOYAL[:2]], [JUNK, GOODS[0]], 4)
    window = Window(start_ms, time.time_ns() // 1_000_000)
    time.sleep(0.05)
    _send(io, stack, LOYAL, GOODS[3:6], 2)
    summary = _headrace(stack, "purge", "--from", str(window.start_ms), "--to", str(window.end_ms), "--reason", "bot")
    assert (summary["users"], summary["items"], summary["events"]) == (3, 2, 24)
    assert summary["samples_passed_over"] == 24
    assert summary["rows_deleted"] == 2
    return window


def _forget(stack: OracleStack, io: TopicIo, user_id: str) -> None:
    """Forget a user who has a dead letter too."""
    broken = json.dumps({"user_id": user_id, "item_id": GOODS[0]}).encode()
    io.send(EVENTS, user_id, broken)
    wait_for(lambda: _letters_of(stack, user_id), "the letter", 60.0)
    summary = _headrace(stack, "forget", user_id, "--reason", "asked for")
    assert summary["trainer_followed"]
    assert (summary["redis_keys"], summary["rows_deleted"], summary["letters_deleted"]) == (2, 1, 1)
    assert summary["log_rows_deleted"] > 0
    assert _letters_of(stack, user_id) == []
    files = (Path(stack.endpoints.state) / LOG_FOLDER / "user_activity").rglob("*.parquet")
    known = {name for file in files for name in pq.ParquetFile(file).read(["user_id"]).column("user_id").to_pylist()}
    assert user_id not in known
    assert LOYAL[1] in known


def _letters_of(stack: OracleStack, user_id: str) -> list[bytes]:
    letters = read_letters(stack.endpoints.kafka, Selection())
    return [letter.raw for letter in letters if user_id.encode() in letter.raw]


def test_a_window_and_a_user_leave_no_trace(stack: OracleStack, tmp_path: Path) -> None:
    """Features equal a plain replay without them, weights a run that never had them; who comes back is new."""
    io, oracle, gone = TopicIo(stack.endpoints, SAMPLES), Oracle(stack), LOYAL[0]
    oracle.online = _RowsWithValues(stack.endpoints.redis, stack.config["name"])
    for number, item in enumerate(GOODS):
        io.send(ITEMS, item, {"item_id": item, "categories": [f"c{number % 3}"]})
    _send(io, stack, LOYAL, GOODS, 2)
    window = _purge(stack, io)
    assert _wait_equal(stack, oracle, lambda one: not window.holds(one["record_time_ms"])) > 500
    _forget(stack, io, gone)
    forgotten_ms = time.time_ns() // 1_000_000
    assert {part: stack.local.restarts(part) for part in ("trainer", "ingester")} == {"trainer": 0, "ingester": 0}

    def is_left(one: Mapping[str, Any]) -> bool:
        is_before = one["user_id"] == gone and one["record_time_ms"] < forgotten_ms
        return not is_before and not window.holds(one["record_time_ms"])

    _wait_equal(stack, oracle, is_left)
    _send(io, stack, [gone, LOYAL[1]], [GOODS[7]], 1)
    _wait_equal(stack, oracle, is_left)
    io.close()
    oracle.close()
    state = Path(stack.endpoints.state)
    stack.local.stop()
    checkpoint = CheckpointStore(state / "trainer" / "checkpoints", keep=3).read_newest()
    assert checkpoint is not None
    assert all(BOT not in column for column in checkpoint.state.names.values())
    learnt = digest_of(checkpoint.state, {}, Holds("headrace"))
    assert learnt == _learn_without(stack.config_path, state, window)
