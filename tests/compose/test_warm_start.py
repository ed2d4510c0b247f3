"""A history learnt from files, then the real trainer over a real Kafka: one run, each event once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from kafka import KafkaProducer

from features.config import load_app_config
from tests.compose.events_files import write_jsonl
from tests.compose.running_commands import ENVIRONMENT
from tests.compose.test_cli import run
from tests.faults.killed_trainer import digest_of
from tests.running_stack import ROOT, RunningStack, wait_for
from tests.trainer.conftest import organic
from trainer.batch_log import read_log
from trainer.batch_machine import BatchMachine
from trainer.batch_records import BaseEntry
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import GateConfig, LearnerConfig
from trainer.history import HistoryItems, learn_history
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.sample_log import SAMPLES_TOPIC, SampleLog
from trainer.samples import Sample, SampleItem

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
_CONFIG = """\
actions: {like: {outcome: positive}, view: {outcome: neutral}}
quality: {enabled: false}
trainer: {learner: {embedding_dim: 8, retrieval_negatives: 16}, keep_batch_log_h: 1}
"""


def samples(first: int, size: int, start_ms: int) -> list[Sample]:
    """Organic samples, a millisecond apart."""
    found = []
    for index in range(first, first + size):
        sample = organic(index, index % 7, index * index % 11, int(index % 3 > 0))
        found.append(msgspec.structs.replace(sample, event_time_ms=start_ms + index, event_id=f"id{index}"))
    return found


def as_row(sample: Sample) -> dict[str, Any]:
    """The event of a sample, as an app has it in its files."""
    [item] = sample.items
    names = ("user_id", "action", "event_time_ms", "event_id")
    return {"item_id": item.item_id} | {name: getattr(sample, name) for name in names}


def test_live_goes_on_where_the_history_ends(kafka_only: RunningStack, tmp_path: Path) -> None:
    """What Kafka took before the cut is not read, a backfill of it teaches nothing, the bits are those of one run."""
    torch.set_num_threads(1)
    config, state = tmp_path / "headrace.yaml", tmp_path / "state"
    config.write_text(_CONFIG)
    past, live = samples(0, 200, _now_ms() - 10_000), samples(200, 100, _now_ms())
    send(kafka_only, past[-50:])  # They were live once, and lie in the topic still.
    time.sleep(0.01)
    cut_ms = _now_ms()
    past[-1] = msgspec.structs.replace(past[-1], event_time_ms=cut_ms)
    assert run(*_words(config, state, write_jsonl(tmp_path / "past.jsonl", map(as_row, past)))) == 0
    send(kafka_only, [*live, *past[:20]])
    endpoints = kafka_only.endpoints.model_copy(update={"state": str(state), "model_store": str(state / "models")})
    (tmp_path / "endpoints.json").write_text(endpoints.model_dump_json())
    with running_trainer(config, tmp_path / "endpoints.json"):
        wait_for(lambda: _learnt(state) >= len(past) + len(live) + 20, "the live samples are learnt", 180)
    checkpoint = CheckpointStore(state / "trainer" / "checkpoints", keep=3).read_newest()
    assert checkpoint is not None
    assert (checkpoint.state.progress.events, checkpoint.state.progress.duplicates) == (300, 20)
    assert digest_of(checkpoint.state, checkpoint.offsets, Holds("headrace")) == one_run(
        kafka_only, config, past, checkpoint, state
    )


def one_run(stack: RunningStack, config: Path, past: list[Sample], checkpoint: Checkpoint, state: Path) -> str:
    """Learn history and live batches in one learner and return its digest."""
    parts = LearnerConfig(embedding_dim=8, retrieval_negatives=16)
    learner = OnlineLearner(load_app_config(config), parts, gate=GateConfig())
    trained_ms = checkpoint.base["trained_time_ms"]
    known = [
        Sample(
            sample_id=sample.event_id or "",
            kind="organic",
            user_id=sample.user_id,
            items=[SampleItem(sample.items[0].item_id)],
            event_time_ms=sample.event_time_ms,
            event_id=sample.event_id,
            action=sample.action,
            outcome=sample.outcome,
            broker_time_ms=trained_ms,
        )
        for sample in past
    ]
    learn_history(learner, known, HistoryItems({}), lambda _done: None)
    machine = BatchMachine(learner, Holds("headrace"))
    machine.base = checkpoint.base
    content = read_log(state / "trainer" / "batch_log", 0)
    assert isinstance(content.entries[0], BaseEntry)
    log = SampleLog(stack.endpoints.kafka, 64)
    assert log.find_topics()
    replay = Replay(machine, log)
    replay.apply_all(content.entries)
    log.close()
    assert replay.report.is_exact
    return digest_of(learner.state(), machine.offsets, Holds("headrace"))


def send(stack: RunningStack, found: list[Sample]) -> None:
    """Put samples on the topic as the sample job does, stamped with the broker's time."""
    producer = KafkaProducer(bootstrap_servers=stack.endpoints.kafka)
    for index, sample in enumerate(found):
        stamped = msgspec.structs.replace(sample, broker_time_ms=_now_ms())
        producer.send(SAMPLES_TOPIC, value=msgspec.json.encode(stamped), partition=index % 4)
    producer.close()


@contextmanager
def running_trainer(config: Path, endpoints: Path) -> Iterator[None]:
    """`python -m trainer` as the stack runs it; ended by SIGTERM."""
    words = [sys.executable, "-m", "trainer", "--config", str(config), "--endpoints", str(endpoints)]
    with subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def _words(config: Path, state: Path, file: Path) -> list[str]:
    return ["train", "--history", str(file), "--config", str(config), "--state", str(state)]


def _learnt(state: Path) -> int:
    path = state / "trainer.json"
    status = json.loads(path.read_text()) if path.exists() else {}
    learnt: int = status.get("progress", {}).get("samples", 0)
    return learnt


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
