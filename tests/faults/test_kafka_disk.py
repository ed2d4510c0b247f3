"""Kafka's disk: full, and with a flipped bit. Real brokers of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError

from compose.local_stack import LocalStack
from tests.oracle.oracle_stack import EVENTS, TopicLog
from tests.running_stack import ROOT, wait_for
from trainer.sample_log import SAMPLES_TOPIC, SampleLog

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(900)]
PARTS = ["kafka", "topics"]
RECORDS, FLIPPED = 60, 30
SMALL_MB, LARGE_MB = 48, 512


def _produce(kafka: str, values: list[bytes], topic: str) -> dict[bytes, Any]:
    """Send each value by itself to partition 0; return those that were acknowledged, with their offsets."""
    producer = KafkaProducer(
        bootstrap_servers=kafka, linger_ms=0, batch_size=1, delivery_timeout_ms=15_000, request_timeout_ms=5_000
    )
    sent = [(value, producer.send(topic, value=value, partition=0)) for value in values]
    acked: dict[bytes, Any] = {}
    for value, future in sent:
        try:
            acked[value] = future.get(timeout=60).offset
        except KafkaError:  # Not acknowledged: it may be there or not.
            continue
    producer.close(timeout=5)
    return acked


def test_a_flipped_bit_in_a_segment_is_learnt_by_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What stands before it is read, it and what stands behind it is not; the reader says so again and again."""
    values = [b'{"n":%03d}' % number + b" " * 400 for number in range(RECORDS)]
    with LocalStack(ROOT / "headrace.yaml", tmp_path / "state", parts=PARTS) as stack:
        assert len(_produce(stack.start().kafka, values, SAMPLES_TOPIC)) == RECORDS
    (segment,) = (tmp_path / "state" / "kafka" / "data" / f"{SAMPLES_TOPIC}-0").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[content.index(b'{"n":%03d}' % FLIPPED) + 100] ^= 4
    segment.write_bytes(content)
    read: list[bytes | None] = []
    with LocalStack(ROOT / "headrace.yaml", tmp_path / "state", parts=PARTS) as stack:
        log = SampleLog(stack.start().kafka, 5)
        wait_for(log.find_topics, "the topics")
        assert log.start({}, {})

        def has_told_twice() -> bool:
            read.extend(record.value for record in log.poll(200))
            return sum("damaged" in record.message for record in caplog.records) >= 2

        wait_for(has_told_twice, "two refusals of the flipped record")
        log.close()
    assert read == values[:FLIPPED]
    assert log.take_gaps() == []


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
