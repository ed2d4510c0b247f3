"""Orders about a held version, from command line and page through the real topic into the trainer's gate."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from compose.cli import main
from compose.local_stack import LocalStack
from compose.ports import free_ports
from features.quality.hold_table import CONTROL_TOPIC
from serving.kafka_writer import KafkaWriter, connect_producer
from serving.version_records import VersionState
from tests.compose.running_commands import ENVIRONMENT, held_on
from tests.dashboard.page_checks import DESKTOP, chromium, open_view
from tests.running_stack import ROOT, wait_for
from tests.serving.serving_parts import APP, TOKEN, World
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
    addresses = {"kafka": kafka, "redis": "127.0.0.1:1", "serving": address, "admin": address, "model_store": ""}
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


def holding(held: str) -> Gate:
    """The trainer's gate, which holds a version."""
    gate = Gate(GateConfig())
    gate.held = HeldVersion(held, "odd scores", 0)
    return gate


def gate_after(kafka: str, held: str) -> Gate:
    """Return the trainer's gate, which holds a version, behind the orders on the topic."""
    gate, holds = holding(held), Holds(APP.name, HoldLog(kafka, follows_quality=False))
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


def tell(world: World, gate: Gate) -> None:
    """Write the files by which trainer and server tell of themselves, as far as the page reads them here."""
    live = live_version(world)
    status = {"model_version": live, "is_following": world.models.order is None, "loaded_time_ms": 0}
    for name, content in (("serving", status), ("trainer", {"gate": gate.status()})):
        text = json.dumps(content | {"time_ms": time.time_ns() // 1_000_000})
        (world.directory / f"{name}.json").write_text(text)


def browse(world: World, kafka: str, address: str, act: Callable[[Any], None]) -> list[dict[str, Any]]:
    """Open the versions of the real dashboard in a browser, signed in, and act; return the orders that it posted."""
    page_at = f"127.0.0.1:{free_ports(1)[0]}"
    places = ["--config", str(ROOT / "headrace.yaml"), "--endpoints", endpoints_file(world, kafka, address)]
    environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"}
    command = [sys.executable, "-m", "compose.dashboard", *places, "--address", page_at]
    posted: list[dict[str, Any]] = []
    with chromium() as browser, (world.directory / "dashboard.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: "READY" in (world.directory / "dashboard.log").read_text(), "the dashboard", 120)
            page = browser.new_context(viewport=DESKTOP).new_page()
            page.on("request", lambda one: posted.append(one.post_data_json) if one.url.endswith("/order") else None)
            page.goto(f"http://{page_at}/#token={TOKEN}")
            page.get_by_role("button", name="Sign out").wait_for(timeout=60_000)
            open_view(page, "versions")
            act(page)
        finally:
            process.terminate()
            process.wait(30)
    return posted


async def order_on_page(world: World, kafka: str, held: str, act: Callable[[Any], None]) -> list[dict[str, Any]]:
    """Hold a version and act on the page; return what it posted."""
    announcement = world.write(held)
    world.models.announce([msgspec.structs.replace(announcement, gate="HELD", gate_reason="odd scores")])
    world.writer = KafkaWriter(partial(connect_producer, kafka), 10)
    world.writer.start()
    tell(world, holding(held))
    async with world.admin() as address:
        posted = await asyncio.to_thread(browse, world, kafka, address, act)
    await asyncio.to_thread(world.writer.stop, 20.0)
    return posted


def orders_about(kafka: str, version: str) -> list[tuple[str, str]]:
    """The orders about a version on the control topic, with their reasons."""
    return [(one["order"], one["reason"]) for one in held_on(kafka, CONTROL_TOPIC) if one.get("version") == version]


@pytest.mark.browser
async def test_a_held_version_is_released_on_the_page(world: World, kafka: str) -> None:
    """It says what is held and why; called off nothing happens; confirmed the version serves and the gate opens."""

    def release(page: Any) -> None:
        page.get_by_text("holds 4.2: odd scores").wait_for(timeout=60_000)
        for answer in ("Cancel", "Release the held version"):
            page.get_by_role("button", name="Release the held version").click()
            assert "Version 4.2 is held: odd scores" in page.locator("dialog").inner_text()
            page.locator("dialog").get_by_role("button", name=answer).click()
        page.get_by_text("Done: the server serves 4.2.").wait_for(timeout=60_000)
        page.get_by_role("row", name=re.compile(r"release\s+4\.2\s+admin")).wait_for(timeout=60_000)
        page.locator(".pick").filter(has_text=re.compile(r"^4\.2live")).wait_for(timeout=60_000)

    await world.serve("4.1")
    assert await order_on_page(world, kafka, "4.2", release) == [{"order": "release"}]
    assert (live_version(world), orders_about(kafka, "4.2")) == ("4.2", [("release", "")])
    gate = await asyncio.to_thread(gate_after, kafka, "4.2")
    assert (gate.is_released, gate.may_publish) == (True, True)


@pytest.mark.browser
async def test_a_held_version_is_rejected_on_the_page(world: World, kafka: str) -> None:
    """With the reason that was typed; the server serves on, and the page shows the version as rejected."""

    def reject(page: Any) -> None:
        page.get_by_role("button", name="Reject it").click()
        assert "goes back to what was good before 5.2" in page.locator("dialog").inner_text()
        page.locator("dialog").get_by_label("Why").fill("scores ran away")
        page.locator("dialog").get_by_role("button", name="Reject it").click()
        page.get_by_text("Done: 5.2 is rejected.").wait_for(timeout=60_000)
        page.get_by_role("row", name=re.compile(r"reject\s+5\.2\s+admin\s+scores ran away")).wait_for(timeout=60_000)
        page.locator(".pick").filter(has_text=re.compile(r"^5\.2rejected")).click()
        page.get_by_text("scores ran away").first.wait_for(timeout=60_000)

    await world.serve("5.1")
    assert await order_on_page(world, kafka, "5.2", reject) == [{"order": "reject", "reason": "scores ran away"}]
    assert (live_version(world), orders_about(kafka, "5.2")) == ("5.1", [("reject", "scores ran away")])
    gate = await asyncio.to_thread(gate_after, kafka, "5.2")
    assert (gate.is_rejected, gate.may_publish) == (True, False)
