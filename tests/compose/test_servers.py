"""What Kafka, Redis and Flink are told, and how they are asked whether they are ready."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from compose.flink_cluster import flink_settings, jobmanager_part, taskmanager_parts
from compose.kafka_broker import kafka_part, server_properties
from compose.part import StackLayout
from compose.ports import HOST
from compose.probes import http_json, kafka_answers, redis_answers
from compose.redis_server import redis_part
from streams.config import StreamsConfig
from tests.compose.small_stack import layout_in

needs_jars = pytest.mark.stack


@pytest.fixture
def layout(tmp_path: Path) -> StackLayout:
    """A layout on free ports."""
    return layout_in(tmp_path)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Serve one connection with fixed bytes; yield the port."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def metadata_answer(num_brokers: int) -> bytes:
    """Encode the beginning of Kafka's answer to a Metadata request."""
    body = struct.pack(">iii", 1, 0, num_brokers)
    return struct.pack(">i", len(body)) + body


def test_broker_is_ready_once_it_lists_itself() -> None:
    """A broker that its controller still fences answers with no broker."""
    with answering(metadata_answer(1)) as port:
        assert kafka_answers(port)
    with answering(metadata_answer(0)) as port:
        assert not kafka_answers(port)


def test_loading_redis_is_not_ready() -> None:
    """Only PONG counts."""
    with answering(b"+PONG\r\n") as port:
        assert redis_answers(port)
    with answering(b"-LOADING Redis is loading the dataset in memory\r\n") as port:
        assert not redis_answers(port)


@pytest.mark.parametrize("probe", [kafka_answers, redis_answers, lambda port: http_json(port, "/") is not None])
def test_closed_port_is_not_ready(probe: Callable[[int], bool], layout: StackLayout) -> None:
    """Nobody there is no error."""
    assert not probe(layout.port("nobody"))


@pytest.mark.parametrize("probe", [kafka_answers, lambda port: http_json(port, "/") is not None])
def test_stranger_on_the_port_is_not_ready(probe: Callable[[int], bool]) -> None:
    """Another protocol's answer is not taken for ours."""
    with answering(b"220 mail.example ESMTP\r\n") as port:
        assert not probe(port)


def test_broker_listens_on_loopback_and_creates_no_topics(layout: StackLayout) -> None:
    """Nothing is reachable from outside, no topic comes by accident."""
    settings = dict(line.split("=", 1) for line in server_properties(layout).splitlines())
    assert all(part.split("://")[1].startswith(f"{HOST}:") for part in settings["listeners"].split(","))
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["log.message.timestamp.type"] == "LogAppendTime"


def test_clients_of_a_further_listener_are_told_its_own_address(layout: StackLayout) -> None:
    """It listens on loopback too; the first listener is as it was."""
    stack = layout.stack.model_copy(update={"kafka_listeners": {"trainer": "127.0.0.1:7"}})
    lines = server_properties(replace(layout, stack=stack)).splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert f"trainer://{layout.address('kafka_trainer')}" in settings["listeners"].split(",")
    assert "trainer://127.0.0.1:7" in settings["advertised.listeners"].split(",")
    assert f"PLAINTEXT://{layout.address('kafka')}" in settings["advertised.listeners"].split(",")


def test_flink_listens_on_loopback_and_notices_death_in_seconds(layout: StackLayout) -> None:
    """Every address is loopback; the heartbeat is the measured one."""
    settings = flink_settings(layout)
    assert {settings[key] for key in settings if key.endswith(("host", "address"))} == {HOST}
    assert (settings["heartbeat.interval"], settings["heartbeat.timeout"]) == (1000, 6000)
    assert settings["execution.checkpointing.num-retained"] == StreamsConfig().retained_checkpoints
    assert settings["taskmanager.numberOfTaskSlots"] == layout.stack.task_slots
    assert settings["env.java.opts.all"].count("--add-opens") > 5


def test_flink_runs_with_the_shipped_openings(layout: StackLayout) -> None:
    """Without them Flink fails on Java 17 at the first reflective access."""
    for part in [jobmanager_part(), *taskmanager_parts(2)]:
        command = list(part.command(layout))
        assert command[0].endswith("/bin/java")
        assert sum(word.startswith("--add-opens=") for word in command) > 5


def test_taskmanagers_have_names_of_their_own(layout: StackLayout) -> None:
    """A restarted one takes its predecessor's place by name."""
    named = [part.command(layout)[-1] for part in taskmanager_parts(2)]
    assert named == ["taskmanager.resource-id=taskmanager-1", "taskmanager.resource-id=taskmanager-2"]


@pytest.mark.parametrize("compiler", ["quick", "full"])
def test_taskmanagers_do_not_stop_for_all_of_their_state(layout: StackLayout, compiler: str) -> None:
    """The collector follows from what they hold, whichever compiler runs."""
    stack = layout.stack.model_copy(update={"jvm_compiler": compiler})
    command = list(taskmanager_parts(1)[0].command(replace(layout, stack=stack)))
    assert "-XX:+UseG1GC" in command
    assert ("-XX:TieredStopAtLevel=1" in command) == (compiler == "quick")


def test_redis_survives_a_kill_and_refuses_rather_than_evicts(layout: StackLayout) -> None:
    """Rows must not vanish silently, on disk or in memory."""
    command = list(redis_part().command(layout))
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--bind"] == HOST
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_redis_writes_its_file_anew_seldom(layout: StackLayout) -> None:
    """Rows are late for as long as it does; at Redis' own 64 MB that was a quarter of the time."""
    command = list(redis_part().command(layout))
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert (options["--auto-aof-rewrite-min-size"], options["--rdbcompression"]) == ("512mb", "no")


@needs_jars
def test_broker_is_formatted_once(layout: StackLayout) -> None:
    """The second start finds its data and formats nothing."""
    assert "StorageTool" in " ".join(kafka_part().command(layout))
    (layout.state_dir / "kafka" / "data").mkdir()
    (layout.state_dir / "kafka" / "data" / "meta.properties").touch()
    assert "StorageTool" not in " ".join(kafka_part().command(layout))
