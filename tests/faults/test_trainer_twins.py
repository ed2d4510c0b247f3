"""Two trainers of one model, real processes: a state has one, and of two states the older publishes nothing more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from compose.local_stack import LocalStack
from compose.part import base_environment
from features.config import load_app_config, load_section
from tests.faults.invariants import version_of
from tests.faults.test_version_topics import read
from tests.running_stack import ROOT, wait_for
from tests.trainer.conftest import sample_stream
from trainer.config import TrainerConfig
from trainer.online_learner import OnlineLearner
from trainer.sample_log import SAMPLES_TOPIC
from trainer.version_topics import MODELS_TOPIC

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(900)]
CONFIG = ROOT / "headrace.yaml"
SAMPLES = 300
_ENDS_S = 120.0


@contextmanager
def _second_trainer(endpoints: Any, folder: Path, **changed: str) -> Iterator[subprocess.Popen[str]]:
    """A trainer beside the stack's own."""
    path = folder / "endpoints-second.json"
    path.write_text(endpoints.model_copy(update=changed).model_dump_json())
    command = [sys.executable, "-m", "trainer", "--config", str(CONFIG), "--endpoints", str(path)]
    log = (folder / "second.log").open("w")
    with log, subprocess.Popen(command, stdout=log, stderr=log, text=True, env=base_environment()) as process:
        try:
            yield process
        finally:
            process.kill()


def _send(kafka: str, samples: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka)
    for number, sample in enumerate(samples):
        producer.send(SAMPLES_TOPIC, value=sample, partition=number % 4)
    producer.close()


def _announced(kafka: str) -> list[int]:
    """Return the epochs of all announcements in their order."""
    found = [msgspec.json.decode(value)["version"] for _, value in read(kafka, MODELS_TOPIC) if value]
    return [version_of(version)[0] for version in found]


def test_a_stopped_trainer_keeps_its_state_and_a_replaced_one_is_fenced(tmp_path: Path) -> None:
    """While it is stopped nobody learns in its state; when it goes on behind a follower it ends, and says nothing."""
    app = load_app_config(CONFIG)
    learner = OnlineLearner(app, load_section(CONFIG, "trainer", TrainerConfig).learner)
    samples = [msgspec.json.encode(sample) for sample in sample_stream(learner, 2 * SAMPLES, seed=5)]
    with LocalStack(CONFIG, tmp_path / "state", parts=["kafka", "topics", "trainer"]) as stack:
        endpoints = stack.start()
        _send(endpoints.kafka, samples[:SAMPLES])
        wait_for(lambda: _announced(endpoints.kafka), "a first version", 120)
        zombie = stack.pid_of("trainer")
        os.kill(zombie, signal.SIGSTOP)
        with _second_trainer(endpoints, tmp_path) as second:
            assert second.wait(_ENDS_S) == 2
        assert "another trainer" in (tmp_path / "second.log").read_text()
        first_epoch = _announced(endpoints.kafka)[-1]
        with _second_trainer(endpoints, tmp_path, state=str(tmp_path / "elsewhere")) as second:
            wait_for(lambda: _announced(endpoints.kafka)[-1] > first_epoch, "a version of the follower", 300)
            _send(endpoints.kafka, samples[SAMPLES:])
            os.kill(zombie, signal.SIGCONT)
            wait_for(lambda: stack.restarts("trainer") > 0, "the end of the zombie", 300)
            assert second.poll() is None
        assert "headrace-" in stack.log_path("trainer").read_text()
        epochs = _announced(endpoints.kafka)
    assert epochs == sorted(epochs)
