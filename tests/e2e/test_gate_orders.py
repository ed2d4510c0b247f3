"""Orders about a held version, from the command line through the real topic into the trainer's gate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from compose.cli import main
from compose.local_stack import LocalStack
from serving.kafka_writer import KafkaWriter, connect_producer
from serving.version_records import VersionState
from tests.running_stack import ROOT, wait_for
from tests.serving.serving_parts import APP, World
from tests.serving.test_model_store import live_version
from trainer.batch_machine import BatchMachine
from trainer.config import GateConfig, LearnerConfig
from trainer.gate import Gate, HeldVersion
from trainer.hold_log import HoldLog
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker with our topics."""
    if not (ROOT / ".jars" / "kafka").is_dir():
        pytest.skip(".jars/kafka is missing; run `make setup`")
    folder = tmp_path_factory.mktemp("orders") / "state"
    with LocalStack(ROOT / "headrace.yaml", folder, parts=["kafka", "topics"]) as stack:
        yield stack.start().kafka


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A server without a model yet."""
    made = World(tmp_path)
    yield made
    await made.models.stop()


def headrace(*arguments: str) -> int:
    """Run a command in this process and return its exit code."""
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("`main` exits")


def endpoints_file(world: World, kafka: str, address: str) -> str:
    """Write where the command line finds the server and its token."""
    path = world.directory / "endpoints.json"
    addresses = {"kafka": kafka, "redis": "", "serving": address, "admin": address, "model_store": ""}
    path.write_text(json.dumps(addresses | {"state": str(world.directory)}))
    return str(path)


async def order(world: World, kafka: str, held: str, *command: str) -> int:
    """Hold a version and give an order about it at the command line; return the exit code once Kafka has it."""
    announcement = world.write(held)
    world.models.announce([msgspec.structs.replace(announcement, gate="HELD", gate_reason="odd scores")])
    world.writer = KafkaWriter(partial(connect_producer, kafka), 10)
    world.writer.start()
    async with world.admin() as address:
        endpoints = endpoints_file(world, kafka, address)
        code = await asyncio.to_thread(headrace, "models", *command, "--endpoints", endpoints)
    await asyncio.to_thread(world.writer.stop, 20.0)
    assert (world.writer.sent, world.writer.dropped) == (1, 0)
    return code


def gate_after(kafka: str, held: str) -> Gate:
    """Return the trainer's gate, which holds a version, behind the orders on the topic."""
    gate, holds = Gate(GateConfig()), Holds(APP.name, HoldLog(kafka, follows_quality=False))
    gate.held = HeldVersion(held, "odd scores", 0)
    machine = BatchMachine(OnlineLearner(APP, LearnerConfig()), holds, gate=gate)

    def has_decided() -> bool:
        for entry in holds.catch_up(lambda: False):
            machine.follow_holds(entry)
        return gate.is_released or gate.is_rejected

    wait_for(has_decided, "the order's effect on the gate")
    return gate


async def test_release_reaches_the_trainers_gate(world: World, kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The server serves what was held, and the trainer may publish again."""
    await world.serve("1.1")
    assert await order(world, kafka, "1.2", "release") == 0
    assert (live_version(world), "the server serves 1.2" in capsys.readouterr().out) == ("1.2", True)
    gate = await asyncio.to_thread(gate_after, kafka, "1.2")
    assert (gate.is_released, gate.is_rejected, gate.may_publish) == (True, False, True)


async def test_reject_reaches_the_trainers_gate(
    world: World, kafka: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The server serves on, and the trainer goes back; both tell the reason. The order is about that version only."""
    await world.serve("2.1")
    assert await order(world, kafka, "2.2", "reject", "--reason", "scores ran away") == 0
    assert "the server rejected 2.2" in capsys.readouterr().out
    status = world.models.records.status_of("2.2")
    assert (live_version(world), status.state, status.reason) == ("2.1", VersionState.REJECTED, "scores ran away")
    gate = await asyncio.to_thread(gate_after, kafka, "2.2")
    assert (gate.is_released, gate.is_rejected, gate.may_publish) == (False, True, False)
    assert "scores ran away" in caplog.text


async def test_nothing_held_is_one_sentence_and_no_order(
    world: World, kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 8, also where the options stand before the subcommand; the trainer hears of nothing."""
    await world.serve("3.1")
    async with world.admin() as address:
        endpoints = endpoints_file(world, kafka, address)
        code = await asyncio.to_thread(headrace, "models", "--endpoints", endpoints, "release")
    assert (code, "no version is held by a gate" in capsys.readouterr().err) == (8, True)
    assert world.producer.records == []
