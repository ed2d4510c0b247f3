"""Gaps over a real Kafka: records deleted under a reader and under a stopped trainer, a topic made anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from compose.local_stack import LocalStack
from compose.topics import create_topics
from tests.running_stack import ROOT, wait_for
from trainer.gaps import Gap
from trainer.sample_log import SAMPLES_TOPIC, LogRecord, SampleLog

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
NAME = f"{SAMPLES_TOPIC}:0"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka with the topics."""
    if not (ROOT / ".jars" / "kafka").is_dir():
        pytest.skip(".jars/kafka is missing; run `make setup`")
    with LocalStack(ROOT / "headrace.yaml", tmp_path_factory.mktemp("gaps"), parts=["kafka", "topics"]) as stack:
        yield stack.start().kafka


@pytest.fixture
def log(servers: str) -> Iterator[SampleLog]:
    """A log that has found its topics."""
    log = SampleLog(servers, 5)
    wait_for(log.find_topics, "the topics")
    yield log
    log.close()


def produce(servers: str, size: int) -> None:
    """Write records to partition 0."""
    producer = KafkaProducer(bootstrap_servers=servers)
    for number in range(size):
        producer.send(SAMPLES_TOPIC, value=b"%d" % number, partition=0)
    producer.close()


def delete_before(servers: str, offset: int) -> None:
    """Do what retention does."""
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_records({TopicPartition(SAMPLES_TOPIC, 0): offset})
    admin.close()


def next_records(log: SampleLog) -> list[LogRecord]:
    """Poll until something comes."""
    return wait_for(lambda: log.poll(200), "records")


def test_gaps_of_a_real_topic_are_told(servers: str, log: SampleLog) -> None:
    """In one story, as the topic has one past: retention twice, then another topic of the same name."""
    produce(servers, 30)
    delete_before(servers, 10)
    assert log.start({NAME: 4}, log.topic_ids)
    assert log.take_gaps() == [Gap(NAME, 4, 10, "retention", 6, resume=10)]
    assert next_records(log)[0].offset == 10
    assert log.read_range(f"{SAMPLES_TOPIC}:9", 0, 3) == []

    known = dict(log.topic_ids)
    assert len(known) == 2
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_topics([SAMPLES_TOPIC])
    admin.close()
    wait_for(lambda: create_topics(servers), "the topic made anew")
    produce(servers, 40)
    found: list[Gap] = []
    records: list[LogRecord] = []

    def is_told() -> bool:
        records.extend(log.poll(200))
        found.extend(log.take_gaps())
        return {gap.reason for gap in found} >= {"recreated"} and len({r.offset for r in records}) >= 40

    wait_for(is_told, "the other topic", timeout_s=90)
    assert log.topic_ids[SAMPLES_TOPIC] != known[SAMPLES_TOPIC]

    later = SampleLog(servers, 5)
    wait_for(later.find_topics, "the topics")
    assert later.start({NAME: 25}, known)
    (gap,) = later.take_gaps()[:1]
    assert (gap.name, gap.first, gap.end, gap.reason) == (NAME, 0, 25, "recreated")
    assert next_records(later)[0].offset == 0
    later.close()
