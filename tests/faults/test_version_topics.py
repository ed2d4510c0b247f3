"""The topics of versions on a real broker: deltas whole or not at all, one publisher at a time, old ones trimmed."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from tests.running_stack import RunningStack
from trainer import version_topics
from trainer.errors import FencedError
from trainer.version_topics import KafkaVersionTopics

TOPIC, MODELS_TOPIC = "test.deltas", "test.models"
"""Not those of the stack, whose server and tests read them."""


def read(kafka: str, topic: str = TOPIC, first: int | None = None) -> list[tuple[int, bytes]]:
    """Return what a reader of committed records sees."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, consumer.beginning_offsets([partition])[partition] if first is None else first)
        found: list[Any] = []
        while polled := consumer.poll(timeout_ms=2000):
            found += [(record.offset, record.value) for records in polled.values() for record in records]
        return found
    finally:
        consumer.close()


@pytest.fixture
def kafka(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a broker with topics of the tests' own."""
    admin = KafkaAdminClient(bootstrap_servers=stack.endpoints.kafka)
    try:
        missing = {TOPIC, MODELS_TOPIC} - set(admin.list_topics())
        if missing:
            admin.create_topics([NewTopic(name, 1, 1) for name in missing], timeout_ms=10_000)
    finally:
        admin.close()
    monkeypatch.setattr(version_topics, "DELTAS_TOPIC", TOPIC)
    monkeypatch.setattr(version_topics, "MODELS_TOPIC", MODELS_TOPIC)
    return stack.endpoints.kafka


def test_a_delta_of_many_chunks_is_seen_whole(kafka: str) -> None:
    """The offset that comes back is where a reader goes on."""
    topics = KafkaVersionTopics(kafka, "whole")
    begin = topics.deltas_end()
    chunks = [bytes([n]) * 500_000 for n in range(5)]
    behind = topics.send_delta("whole", chunks)
    after = topics.send_delta("whole", [b"next"])
    topics.close()
    assert [value for _, value in read(kafka, first=begin)] == [*chunks, b"next"]
    assert [value for _, value in read(kafka, first=behind)] == [b"next"]
    assert topics.deltas_end() >= after > behind


def test_a_delta_that_was_not_committed_is_never_seen(kafka: str) -> None:
    """A publisher killed between two chunks leaves nothing; the next one ends what it began."""
    killed = KafkaVersionTopics(kafka, "killed")
    begin = killed.deltas_end()
    producer = killed._connected()
    producer.begin_transaction()
    producer.send(TOPIC, key=b"killed", value=b"half").get(timeout=10)
    follower = KafkaVersionTopics(kafka, "killed")
    follower.send_delta("killed", [b"whole"])
    follower.close()
    assert [value for _, value in read(kafka, first=begin)] == [b"whole"]


def test_a_publisher_that_was_replaced_is_fenced(kafka: str) -> None:
    """What was taken for dead writes neither deltas nor announcements any more; others' models do not matter."""
    zombie, other = KafkaVersionTopics(kafka, "fenced"), KafkaVersionTopics(kafka, "other")
    zombie.send_delta("fenced", [b"old"])
    other.send_delta("other", [b"other"])
    begin = zombie.deltas_end()
    follower = KafkaVersionTopics(kafka, "fenced")
    follower.send_delta("fenced", [b"new"])
    with pytest.raises(FencedError, match="headrace-fenced"):
        zombie.send_delta("fenced", [b"late"])
    other.send_delta("other", [b"other"])
    for topics in (zombie, other, follower):
        topics.close()
    assert [value for _, value in read(kafka, first=begin)] == [b"new", b"other"]


def test_a_fenced_publisher_announces_nothing(kafka: str) -> None:
    """Announcements go through the same fence."""
    zombie, follower = KafkaVersionTopics(kafka, "quiet"), KafkaVersionTopics(kafka, "quiet")
    zombie.announce("quiet", b"first")
    follower.announce("quiet", b"second")
    with pytest.raises(FencedError):
        zombie.announce("quiet", b"late")
    for topics in (zombie, follower):
        topics.close()
    said = [value for _, value in read(kafka, MODELS_TOPIC) if value in (b"first", b"second", b"late")]
    assert said == [b"first", b"second"]


def test_old_deltas_are_trimmed(kafka: str) -> None:
    """What lies behind the oldest kept snapshot goes."""
    topics = KafkaVersionTopics(kafka, "trimmed")
    topics.send_delta("trimmed", [b"old"])
    behind = topics.send_delta("trimmed", [b"older than kept"])
    topics.send_delta("trimmed", [b"kept"])
    topics.trim_deltas(behind)
    topics.close()
    assert [value for _, value in read(kafka)] == [b"kept"]
