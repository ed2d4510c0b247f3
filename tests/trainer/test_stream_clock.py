"""The clock is that of the slowest partition which has something to read."""

from __future__ import annotations

import msgspec

from tests.trainer.conftest import START_MS, organic
from trainer.sample_log import SAMPLES_TOPIC, LogRecord
from trainer.stream_clock import StreamClock

A, B = f"{SAMPLES_TOPIC}:0", f"{SAMPLES_TOPIC}:1"


def record(partition: int, broker_time_ms: int) -> LogRecord:
    """A decoded record."""
    sample = msgspec.structs.replace(organic(1, 1, 1), broker_time_ms=broker_time_ms)
    return LogRecord(SAMPLES_TOPIC, partition, 0, b"", b"", 0, sample)


def test_slowest_partition_with_a_lag_counts() -> None:
    """An idle partition does not hold the clock back, one that waits to be read does."""
    clock = StreamClock()
    clock.note([record(0, START_MS + 5000), record(1, START_MS + 100)])
    assert clock.now_ms({A: 9, B: 3}, {A: 10, B: 7}) == START_MS + 100
    assert clock.now_ms({A: 9, B: 7}, {A: 10, B: 7}) == START_MS + 5000
    assert clock.now_ms({A: 10, B: 7}, {A: 10, B: 7}) == START_MS + 5000


def test_partition_of_unknown_time_stops_the_clock() -> None:
    """What was not read yet may be of any age."""
    clock = StreamClock()
    clock.note([record(0, START_MS)])
    assert clock.now_ms({A: 1}, {A: 1, B: 50}) == 0
