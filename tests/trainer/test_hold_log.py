"""The Kafka side of holds on a real broker: verdicts and orders as they come, ranges read again, what is gone told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError

from compose.local_stack import LocalStack
from features.quality.hold_table import CONTROL_TOPIC, RELEASE_ORDER, QualityOrder
from features.quality.profile import HELD, QUALITY_TOPIC, Profile, encode_profile
from tests.running_stack import ROOT, wait_for
from trainer.hold_log import HoldLog
from trainer.holds import Holds
from trainer.sample_log import SAMPLES_TOPIC, LogRecord

pytestmark = pytest.mark.stack

START_MS, WINDOW_MS = 1_700_000_000_000, 60_000


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker with topics, thirty samples, and one held window."""
    if not (ROOT / ".jars" / "kafka").is_dir():
        pytest.skip(".jars/kafka is missing; run `make setup`")
    folder: Path = tmp_path_factory.mktemp("holds")
    with LocalStack(ROOT / "headrace.yaml", folder / "state", parts=["kafka", "topics"]) as stack:
        servers = stack.start().kafka
        for number in range(30):
            write(servers, SAMPLES_TOPIC, str(number).encode())
        held = Profile(window_start_ms=START_MS, window_end_ms=START_MS + WINDOW_MS, state=HELD)
        write(servers, QUALITY_TOPIC, encode_profile(held))
        yield servers


def write(servers: str, topic: str, value: bytes) -> None:
    """Write one record to partition 0."""
    producer: Any = KafkaProducer(bootstrap_servers=servers)
    producer.send(topic, value=value, partition=0).get(timeout=20)
    producer.close()


def test_holds_come_from_kafka_and_go_by_order(servers: str) -> None:
    """What was held before the start is known at the start; an order lets its samples be read again."""
    log = HoldLog(servers)
    holds = Holds("headrace", log)
    for entry in holds.catch_up(lambda: False):
        holds.apply(entry)
    for offset in (5, 9, 17):
        assert holds.defer(START_MS + 1, LogRecord(SAMPLES_TOPIC, 0, offset, b"", b"", 0))
    order = QualityOrder(
        idempotency_key="k",
        name="headrace",
        order=RELEASE_ORDER,
        window_start_ms=START_MS,
        window_end_ms=START_MS + WINDOW_MS,
    )
    write(servers, CONTROL_TOPIC, msgspec.json.encode(order))
    wait_for(lambda: _is_released(holds), "the order's effect")
    read = wait_for(lambda: holds.next_released(8), "the first slice")
    assert [record.value for record in read.records] == [str(number).encode() for number in range(5, 13)]
    holds.forget_slice(read.entry)
    read = wait_for(lambda: holds.next_released(8), "the rest")
    assert (read.records[0].offset, read.records[-1].offset) == (13, 17)
    holds.forget_slice(read.entry)
    assert holds.next_released(8) is None
    log.close()


def test_range_that_is_gone_is_told(servers: str) -> None:
    """A range beyond what the log holds ends, with the number of records that were deleted."""
    log = HoldLog(servers)
    records, next_offset, lost = wait_for(lambda: _finished(log, "headrace.samples.v1:0", 28, 30), "the range")
    assert ([record.offset for record in records], next_offset, lost) == ([28, 29], 30, 0)
    log.close()


def test_dead_broker_costs_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a broker nothing is read and nothing raised: the trainer goes on."""

    def refuse(**_settings: object) -> None:
        raise KafkaError("no broker")

    monkeypatch.setattr("trainer.hold_log.TopicConsumer", refuse)
    log = HoldLog("127.0.0.1:1")
    log.start({})
    assert log.poll() == []
    assert not log.has_caught_up()
    assert log.read_range("headrace.samples.v1:0", 3, 9, 10) == ([], 3, 0)
    log.close()


def _is_released(holds: Holds) -> bool:
    news = holds.news()
    if news is not None:
        holds.apply(news)
    return not holds.defer(START_MS + 1, LogRecord(SAMPLES_TOPIC, 0, 5, b"", b"", 0))


def _finished(log: HoldLog, name: str, offset: int, end: int) -> tuple[list[LogRecord], int, int] | None:
    read = log.read_range(name, offset, end, 100)
    return read if read[1] > offset else None
