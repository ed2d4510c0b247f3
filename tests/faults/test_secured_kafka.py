"""Kafka with TLS, a login and rights, really started, and used by every part: the whole loop over it, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from compose.dlq_letters import Selection, read_letters
from compose.local_stack import LocalStack
from features.config import Endpoints
from features.kafka_connection import KafkaServers, kafka_settings
from headrace_client import Event, EventProducer, Item, Recommender
from tests.faults.secured_kafka import PARTS, RIGHTS, endpoints_of, secured_parts
from tests.running_stack import ROOT, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(1500)]
EVENTS, SAMPLES = "headrace.events.v1", "headrace.samples.v1"


class Secured(NamedTuple):
    """What runs."""

    stack: LocalStack
    folder: Path

    def endpoints(self, name: str) -> Endpoints:
        """Return the endpoints of somebody who logs in."""
        return endpoints_of(name, self.stack.endpoints, self.stack.address_of("kafka_secure"), self.folder)

    def kafka(self, name: str) -> KafkaServers:
        """Return the address with somebody's login."""
        return self.endpoints(name).kafka_servers


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Everything but the dashboard."""
    folder = tmp_path_factory.mktemp("secured")
    config: Any = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
    config["stack"] = {"taskmanagers": 1, "task_slots": 4, "start_timeout_s": 1200}
    path = folder / "headrace.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with LocalStack(path, folder / "state", parts=["redis", "features-apply"], extra_parts=secured_parts(folder)) as on:
        on.start()
        yield Secured(on, folder)


def _send(servers: KafkaServers, topic: str, value: bytes) -> None:
    settings = kafka_settings(servers)
    producer = KafkaProducer(
        **settings, enable_idempotence=False, max_block_ms=10_000, delivery_timeout_ms=10_000, request_timeout_ms=5_000
    )
    try:
        producer.send(topic, value=value, partition=0).get(timeout=20)
    finally:
        producer.close(timeout=2)


def _read_first(servers: KafkaServers, topic: str) -> Any:
    consumer = KafkaConsumer(**kafka_settings(servers), enable_auto_commit=False, bootstrap_timeout_ms=8_000)
    try:
        parts = [TopicPartition(topic, number) for number in range(4)]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        return consumer.poll(timeout_ms=5_000)
    finally:
        consumer.close()


def test_the_whole_loop_runs_over_it(secured: Secured) -> None:
    """From an app's event to a list of a model that learnt; a letter, a served list and a feature row on the way."""
    app = secured.kafka("app")
    security = {name: value for name, value in kafka_settings(app).items() if name != "bootstrap_servers"}
    with EventProducer(str(app), security=security) as producer, Recommender(secured.stack.endpoints.serving) as asked:
        for number in range(30):
            producer.announce(Item(item_id=f"i{number % 6}", title="Item", categories=["c"]))
            producer.send(Event(user_id=f"u{number % 5}", item_id=f"i{number % 6}", action="like")).result(30)
        producer.send_record(EVENTS, b"u0", b"no event").result(30)

        def learnt() -> str:
            reply = asked.recommend("newcomer", 5, deadline_s=10.0)
            return reply.model_version if not reply.degraded_reasons and reply.items else ""

        wait_for(learnt, "a full list of a model", 240, pause_s=0.5)
    ops = secured.kafka("ops")
    assert [letter.raw for letter in wait_for(lambda: list(read_letters(ops, Selection())), "a letter")] == [
        b"no event"
    ]
    wait_for(lambda: any(_read_first(ops, topic) for topic in ("headrace.served.v1",)), "a list that was served", 60)
    assert {part: secured.stack.restarts(part) for part in PARTS} == dict.fromkeys(PARTS, 0)


@pytest.mark.parametrize("name", sorted(RIGHTS.keys() - {"jobs"}))
def test_nobody_but_the_jobs_writes_samples(secured: Secured, name: str) -> None:
    """Who could would decide what is learnt."""
    with pytest.raises(TopicAuthorizationFailedError):
        _send(secured.kafka(name), SAMPLES, b"{}")


@pytest.mark.parametrize("name", ["app", "topics", "ingester", "trainer", "server"])
def test_events_are_read_by_those_alone_who_need_them(secured: Secured, name: str) -> None:
    """An app that sends does not read what others did; to the others the topic is not even there."""
    try:
        found = _read_first(secured.kafka(name), EVENTS)
    except TopicAuthorizationFailedError:
        found = {}
    assert not found
    assert _read_first(secured.kafka("ops"), EVENTS)


def test_who_does_not_log_in_is_refused(secured: Secured) -> None:
    """Another password, and plain text on the port of TLS."""
    wrong = secured.folder / "wrong.password"
    wrong.write_text("guessed")
    known = secured.kafka("ops")
    assert known.security is not None
    guessed = KafkaServers(str(known), known.security.model_copy(update={"password_file": str(wrong)}))
    for servers in (guessed, KafkaServers(str(known))):
        with pytest.raises(KafkaError):
            _read_first(servers, EVENTS)


def test_no_password_is_told(secured: Secured) -> None:
    """Neither in a log, nor in a file that a part writes, nor in a process' arguments."""
    words = [f"{name}-s3cr3t".encode() for name in RIGHTS]
    state = secured.folder / "state"
    told = [
        file
        for file in [*(state / "logs").iterdir(), *state.glob("*.json")]
        if any(w in file.read_bytes() for w in words)
    ]
    assert told == []
    assert not any(
        word in _arguments(secured.stack.pid_of(part)) for part in ("kafka", "server", "trainer") for word in words
    )


def _arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
