"""The trainer process of the stack, killed -9 over a real Kafka: its end is that of one run over its batch log."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import msgspec
import pytest
import torch
import yaml
from kafka import KafkaProducer

from compose.local_stack import LocalStack
from features.config import load_app_config, load_section
from features.label_config import load_labels
from tests.faults.killed_trainer import digest_of
from tests.running_stack import ROOT, wait_for
from tests.trainer.conftest import sample_stream
from trainer.batch_log import read_log
from trainer.batch_machine import BatchMachine
from trainer.checkpoint import CheckpointStore
from trainer.config import TrainerConfig
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, SampleLog

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
KILLS, SAMPLES = 3, 900


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """The shipped configuration, with frequent checkpoints and a batch log that stays."""
    for needed in (ROOT / ".jars" / "kafka",):
        if not needed.is_dir():
            pytest.skip(f"{needed.relative_to(ROOT)} is missing; run `make setup`")
    content = yaml.safe_load((ROOT / "headrace.yaml").read_text())
    content["trainer"] = (content.get("trainer") or {}) | {"checkpoint_interval_s": 1.0, "keep_batch_log_h": 1.0}
    path = tmp_path / "headrace.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_killed_trainer_over_kafka_ends_where_one_run_does(config_path: Path, tmp_path: Path) -> None:
    """Samples come while the trainer is killed; every array and id is that of one run, every sample in one batch."""
    torch.set_num_threads(1)
    state_dir = tmp_path / "state"
    learner = _learner(config_path)
    samples = [msgspec.json.encode(sample) for sample in sample_stream(learner, SAMPLES, seed=3)]
    with LocalStack(config_path, state_dir, parts=["kafka", "topics", "trainer"]) as stack:
        producer = KafkaProducer(bootstrap_servers=stack.start().kafka)
        random_ = random.Random(3)
        for part in range(KILLS + 1):
            for value in samples[part * len(samples) // (KILLS + 1) : (part + 1) * len(samples) // (KILLS + 1)]:
                producer.send(SAMPLES_TOPIC, value=value, partition=random_.randrange(4))
            producer.send(ITEMS_TOPIC, key=b"i1", value=b'{"item_id":"i1","categories":["c%d"]}' % part)
            producer.flush()
            if part < KILLS:
                wait_for(lambda part=part: _learnt(state_dir) > part * 50, "some samples learnt")  # type: ignore[misc]
                restarts = stack.restarts("trainer")
                os.kill(stack.pid_of("trainer"), signal.SIGKILL)
                stack.wait_ready("trainer", timeout_s=90, after_restarts=restarts + 1)
        producer.close()
        wait_for(lambda: _learnt(state_dir) >= len(samples), "all samples learnt", timeout_s=120)
    checkpoint = CheckpointStore(state_dir / "trainer" / "checkpoints", keep=3).read_newest()
    assert checkpoint is not None
    content = read_log(state_dir / "trainer" / "batch_log", 0)
    holds = Holds("headrace")
    machine = BatchMachine(learner, holds)
    with LocalStack(config_path, state_dir, parts=["kafka", "topics"]) as stack:
        log = SampleLog(stack.start().kafka, 64)
        assert log.find_topics()
        replay = Replay(machine, log)
        replay.apply_all(content.entries)
        log.close()
    assert replay.report.is_exact
    assert checkpoint.position == len(content.entries)
    assert checkpoint.state.progress.samples == len(samples)
    holds.restore(checkpoint.holds)  # Positions of topics that held nothing are no entries.
    expected = digest_of(learner.state(), machine.offsets, holds)
    assert digest_of(checkpoint.state, checkpoint.offsets, holds) == expected


def _learner(config_path: Path) -> OnlineLearner:
    app = load_app_config(config_path)
    config = load_section(config_path, "trainer", TrainerConfig)
    return OnlineLearner(app, config.learner, labels=load_labels(config_path, app), gate=config.gate)


def _learnt(state_dir: Path) -> int:
    path = state_dir / "trainer.json"
    status = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    learnt: int = status.get("progress", {}).get("samples", 0)
    return learnt
