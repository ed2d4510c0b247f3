"""Reading ahead changes the moment of a read and nothing else."""

from __future__ import annotations

import threading

import msgspec
import pytest

from tests.trainer.conftest import ListLog, organic
from trainer.errors import SampleError
from trainer.gaps import RETENTION, Gap
from trainer.read_ahead import ReadAhead
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, LogRecord
from trainer.samples import Sample


def records(size: int) -> list[LogRecord]:
    """Samples, the first of them garbage, and an item at the end."""
    values = [b"garbage", *(msgspec.json.encode(organic(i, 1, 1)) for i in range(1, size - 1))]
    samples = [LogRecord(SAMPLES_TOPIC, 0, offset, b"", value, 0) for offset, value in enumerate(values)]
    return [*samples, LogRecord(ITEMS_TOPIC, 0, 0, b"i", b"{}", 0)]


def drained(log: ReadAhead, size: int) -> list[LogRecord]:
    """Poll until `size` records came."""
    found: list[LogRecord] = []
    while len(found) < size:
        found += log.poll(1000)
    return found


def test_records_come_in_order_and_decoded() -> None:
    """Every record once, samples decoded, garbage as its error, items untouched."""
    log = ReadAhead(ListLog(records(300), size=7))
    found = drained(log, 300)
    log.close()
    assert [record[:6] for record in found] == [record[:6] for record in records(300)]
    assert isinstance(found[0].decoded, SampleError)
    assert isinstance(found[1].decoded, Sample)
    assert found[-1].decoded is None


def test_it_reads_only_a_few_polls_ahead() -> None:
    """A learner that stands still stops the reading: memory is bounded."""
    inner = ListLog(records(1000), size=10)
    polls = threading.Semaphore(0)
    real = inner.poll

    def poll(timeout_ms: int) -> list[LogRecord]:
        polls.release()
        return real(timeout_ms)

    inner.poll = poll  # type: ignore[method-assign]
    log = ReadAhead(inner)
    count = 0
    while polls.acquire(timeout=0.3):
        count += 1
    assert 2 <= count <= 12
    log.close()


def test_gap_comes_with_the_records_behind_it() -> None:
    """It is told when the records behind it are polled, not when the thread met it."""
    inner = ListLog(records(30), size=10)
    inner.first_kept = {f"{SAMPLES_TOPIC}:0": 5}
    inner.start({}, {})
    log = ReadAhead(inner)
    assert log.poll(1000)[0].offset == 5
    assert log.take_gaps() == [Gap(f"{SAMPLES_TOPIC}:0", 0, 5, RETENTION, 5, resume=5)]
    assert log.take_gaps() == []
    log.close()


def test_what_ends_the_thread_ends_the_trainer() -> None:
    """An error that nobody expects is raised where records are polled."""
    inner = ListLog(records(3))

    def fail(timeout_ms: int) -> list[LogRecord]:
        raise RuntimeError("planted")

    inner.poll = fail  # type: ignore[method-assign]
    log = ReadAhead(inner)
    with pytest.raises(RuntimeError, match="planted"):
        log.poll(2000)
    log.close()
