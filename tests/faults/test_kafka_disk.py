"""Kafka's disk: full, and with a flipped bit. Real brokers of the tests' own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError

from compose.local_stack import LocalStack
from features.quality.hold_table import CONTROL_TOPIC
from features.quality.quality_log import connect
from features.record_reader import FeatureConsumer
from headrace_client.producer import abandon
from serving.topic_reader import TopicReader, connect_consumer
from tests.oracle.oracle_stack import EVENTS, TopicLog
from tests.running_stack import ROOT, wait_for
from trainer.hold_log import HoldLog
from trainer.sample_log import SAMPLES_TOPIC, SampleLog

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(900)]
PARTS = ["kafka", "topics"]
ROWS_TOPIC = "headrace.features.user_activity.v1"
RECORDS, FLIPPED = 60, 30
VALUES = [b'{"n":%03d}' % number + b" " * 400 for number in range(RECORDS)]
SMALL_MB, LARGE_MB = 48, 512
PATIENCE_S = 45.0


def _produce(kafka: str, values: list[bytes], topic: str) -> dict[bytes, Any]:
    """Send each value by itself to partition 0; return those that were acknowledged, with their offsets."""
    producer = KafkaProducer(
        bootstrap_servers=kafka, linger_ms=0, batch_size=1, delivery_timeout_ms=15_000, request_timeout_ms=5_000
    )
    sent = [(value, producer.send(topic, value=value, key=b"key", partition=0)) for value in values]
    acked: dict[bytes, Any] = {}
    end_s = time.monotonic() + PATIENCE_S  # For all together: behind the first that expires kafka-python expires none.
    for value, future in sent:
        with contextlib.suppress(KafkaError):  # Not acknowledged: it may be there or not.
            acked[value] = future.get(timeout=max(0.01, end_s - time.monotonic())).offset
    try:
        producer.close(timeout=5)
    except KafkaError:
        abandon(producer)
    return acked


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that keeps records in several topics, one of each with a flipped bit."""
    state = tmp_path_factory.mktemp("flipped") / "state"
    topics = (SAMPLES_TOPIC, CONTROL_TOPIC, EVENTS, ROWS_TOPIC)
    with LocalStack(ROOT / "headrace.yaml", state, parts=PARTS) as stack:
        kafka = stack.start().kafka
        assert [len(_produce(kafka, VALUES, topic)) for topic in topics] == [RECORDS] * len(topics)
    for topic in topics:
        (segment,) = (state / "kafka" / "data" / f"{topic}-0").glob("*.log")
        content = bytearray(segment.read_bytes())
        content[content.index(VALUES[FLIPPED][:10]) + 100] ^= 4
        segment.write_bytes(content)
    with LocalStack(ROOT / "headrace.yaml", state, parts=PARTS) as stack:
        yield stack.start().kafka


def _delete_damage(kafka: str, topic: str) -> None:
    """Let a topic begin behind its flipped record, as an operator does; Kafka refuses it of compacted ones."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.delete_records({TopicPartition(topic, 0): FLIPPED + 1})
    admin.close()


def _refusals(caplog: pytest.LogCaptureFixture, topic: str = "") -> int:
    told = [record.message for record in caplog.records if topic in record.message]
    return sum("damaged" in message or "failed crc" in message for message in told)


def test_a_flipped_bit_in_a_segment_is_learnt_by_nobody(flipped: str, caplog: pytest.LogCaptureFixture) -> None:
    """What stands before it is read, it and what stands behind it is not; the reader says so again and again."""
    read: list[bytes | None] = []
    log = SampleLog(flipped, 5)
    wait_for(log.find_topics, "the topics")
    assert log.start({}, {})

    def has_told_twice() -> bool:
        read.extend(record.value for record in log.poll(200))
        return _refusals(caplog) >= 2

    wait_for(has_told_twice, "two refusals of the flipped record")
    log.close()
    assert read == VALUES[:FLIPPED]
    assert log.take_gaps() == []


def test_no_order_behind_a_flipped_bit_is_followed(
    flipped: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer's reader of holds and orders asks again and again, and stands in nobody's way meanwhile."""
    monkeypatch.setattr("trainer.hold_log._LOOK_AGAIN_S", 0.2)
    read: list[bytes | None] = []
    log = HoldLog(flipped, follows_quality=False)
    log.start({})

    def has_told_twice() -> bool:
        read.extend(record.value for record in log.poll())
        return _refusals(caplog) >= 2

    wait_for(has_told_twice, "two refusals of the flipped order")
    assert read == VALUES[:FLIPPED]
    assert not log.has_caught_up()
    wait_for(lambda: log.read_range(f"{SAMPLES_TOPIC}:0", FLIPPED, RECORDS, 9) and _refusals(caplog) >= 4, "two more")
    assert log.read_range(f"{SAMPLES_TOPIC}:0", FLIPPED, RECORDS, 9) == ([], FLIPPED, 0)
    log.close()


def test_no_event_behind_a_flipped_bit_is_judged(flipped: str, caplog: pytest.LogCaptureFixture) -> None:
    """The quality job's reader asks again and again, in one process: it ended, and was started over and over.

    Once the record is deleted it goes on behind it.
    """
    read: list[bytes | None] = []
    stop = threading.Event()
    log = connect(flipped, stop, lambda attempt: 0.1)
    assert log is not None
    stop.set()  # Orders are damaged, too: it would wait at theirs.
    assert log.read_orders(stop) == []
    log.follow({})

    def has_told_twice() -> bool:
        read.extend(record.value for topic, _, record in log.poll(200) if topic == EVENTS)
        return _refusals(caplog, EVENTS) >= 2

    wait_for(has_told_twice, "two refusals of the flipped event")
    assert log.lag() == RECORDS - FLIPPED
    assert read == VALUES[:FLIPPED]
    _delete_damage(flipped, EVENTS)
    wait_for(lambda: has_told_twice() and len(read) == RECORDS - 1, "what stands behind the damage")
    log.close()
    assert read == VALUES[:FLIPPED] + VALUES[FLIPPED + 1 :]


def test_no_row_behind_a_flipped_bit_is_read(flipped: str) -> None:
    """The ingester's consumer refuses it each time, its next poll never ended before."""
    consumer = FeatureConsumer(bootstrap_servers=flipped)
    part = TopicPartition(ROWS_TOPIC, 0)
    consumer.assign([part])
    consumer.seek_to_beginning(part)
    read, refusals = list[bytes | None](), 0
    while refusals < 2:
        try:
            read.extend(record.value for record in consumer.poll(timeout_ms=200).get(part, []))
        except CorruptRecordError:
            refusals += 1
    assert (read, consumer.position(part)) == (VALUES[:FLIPPED], FLIPPED)
    consumer.close()


async def test_a_server_hears_nothing_behind_a_flipped_bit(flipped: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its readers of topics connect anew after each refusal."""
    read: list[bytes] = []
    reader = TopicReader(partial(connect_consumer, flipped), [CONTROL_TOPIC], lambda record: record.value, read.extend)
    reader.start()
    for _ in range(600):
        if _refusals(caplog) >= 2:
            break
        await asyncio.sleep(0.1)
    await reader.stop()
    assert _refusals(caplog) >= 2
    assert read == VALUES[:FLIPPED]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 48 MB under the broker's data."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a disk of its own for Kafka needs root")
    folder = tmp_path / "state" / "kafka"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"tmpfs cannot be mounted here: {mounted.stderr.decode()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_log_disk_loses_nothing_acknowledged(small_disk: Path, tmp_path: Path) -> None:
    """Nothing is acknowledged while it is full; with room again the broker comes back by itself and has all it said."""
    values = [b"%06d" % number + b"x" * 60_000 for number in range(900)]
    with LocalStack(ROOT / "headrace.yaml", tmp_path / "state", parts=PARTS) as stack:
        kafka = stack.start().kafka
        acked = _produce(kafka, values, EVENTS)
        assert 100 < len(acked) < len(values)
        subprocess.run(["mount", "-o", f"remount,size={LARGE_MB}m", str(small_disk)], check=True)
        stack.wait_ready("kafka", timeout_s=300)
        again = wait_for(lambda: _produce(kafka, [b"again"], EVENTS), "an acknowledgement", timeout_s=300)
        log = TopicLog(kafka, EVENTS)
        found = {record.offset: record.value for record in log.read_new() if record.partition == 0}
        log.close()
    lost = [offset for value, offset in (acked | again).items() if found.get(offset) != value]
    assert lost == []
