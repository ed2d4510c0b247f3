"""A real broker that falls silent: who reads and who sends is told in time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError

from compose.errors import StackError
from compose.local_stack import LocalStack
from compose.topic_scan import scan_topic
from features.kafka_connection import partitions_of
from headrace_client import Event, EventProducer
from headrace_client.errors import NotAcknowledgedError
from tests.running_stack import ROOT, wait_for

pytestmark = pytest.mark.stack


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[LocalStack]:
    """A broker with the topics."""
    with LocalStack(ROOT / "headrace.yaml", tmp_path / "state", parts=["kafka", "topics"]) as stack:
        stack.start()
        yield stack


def test_readers_give_it_up(kafka: LocalStack) -> None:
    """kafka-python would wait for ever; with an answer, no partitions are what there is not."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.endpoints.kafka, allow_auto_create_topics=False)
    assert partitions_of(consumer, "nowhere") == []
    os.kill(kafka.pid_of("kafka"), signal.SIGSTOP)
    try:
        with pytest.raises(KafkaTimeoutError):
            partitions_of(consumer, "nowhere", timeout_s=0.5)
    finally:
        os.kill(kafka.pid_of("kafka"), signal.SIGCONT)
        consumer.close()
    with pytest.raises(StackError, match="does not exist"):
        list(scan_topic(kafka.endpoints.kafka, "nowhere"))


def test_every_event_that_is_late_is_told(kafka: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first alone; and whoever waits for Kafka to come back finds a producer that goes on."""
    producer = EventProducer(kafka.endpoints.kafka)
    assert producer.send(Event("ada", "tea", "like")).result(30)
    monkeypatch.setattr("headrace_client.producer.DELIVERY_TIMEOUT_S", 2.0)
    monkeypatch.setattr("headrace_client.producer._LOOK_S", 0.2)
    os.kill(kafka.pid_of("kafka"), signal.SIGSTOP)
    try:
        late = [producer.send(Event(f"u{number}", "tea", "like")) for number in range(20)]
        assert {type(future.exception(30)) for future in late} == {NotAcknowledgedError}
    finally:
        os.kill(kafka.pid_of("kafka"), signal.SIGCONT)
    wait_for(lambda: _is_acknowledged(producer), "an event that is acknowledged")
    producer.close()


def test_who_closes_meanwhile_leaves_nothing_behind(kafka: LocalStack) -> None:
    """Whatever waits fails, and the producer's thread ends."""
    producer = EventProducer(kafka.endpoints.kafka)
    assert producer.send(Event("ada", "tea", "like")).result(30)
    os.kill(kafka.pid_of("kafka"), signal.SIGSTOP)
    try:
        waiting = [producer.send(Event(f"u{number}", "tea", "like")) for number in range(5)]
        with pytest.raises(NotAcknowledgedError, match=r"within 0\.5 s"):
            producer.close(timeout_s=0.5)
        assert {type(future.exception(30)) for future in waiting} == {NotAcknowledgedError}
        assert not producer._producer._sender.is_alive()
    finally:
        os.kill(kafka.pid_of("kafka"), signal.SIGCONT)


def _is_acknowledged(producer: EventProducer) -> bool:
    return producer.send(Event("ada", "tea", "like")).exception(30) is None
