"""Reading a whole topic from a real broker, and one that falls silent."""

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
from tests.running_stack import ROOT

pytestmark = pytest.mark.stack


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[LocalStack]:
    """A broker without topics."""
    with LocalStack(ROOT / "headrace.yaml", tmp_path / "state", parts=["kafka"]) as stack:
        stack.start()
        yield stack


def test_a_broker_that_falls_silent_is_given_up(kafka: LocalStack) -> None:
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
