"""A micro-batch is sized by what teaches, is cut when it waited for long enough, and keeps the order of the log."""

from __future__ import annotations

import msgspec

from tests.trainer.conftest import organic
from trainer.config import TrainerConfig
from trainer.pending_batch import PendingBatch
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, LogRecord

CONFIG = TrainerConfig(min_batch_samples=2, max_batch_samples=3, max_batch_records=8, batch_wait_ms=80)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def records(*outcomes: int | None) -> list[LogRecord]:
    """Events with outcomes, None for the record of an item."""
    return [
        LogRecord(ITEMS_TOPIC, 0, place, b"i", b"{}", 0)
        if outcome is None
        else LogRecord(SAMPLES_TOPIC, 0, place, b"", msgspec.json.encode(organic(place, 1, place, outcome)), 0)
        for place, outcome in enumerate(outcomes)
    ]


def test_what_only_counts_makes_no_micro_batch_due() -> None:
    """Views and items wait for what teaches, or for the clock."""
    clock = Clock()
    pending = PendingBatch(CONFIG, clock)
    pending.add(records(0, 0, None, 1, 0))
    assert not pending.is_due
    clock.now_s = 0.081
    assert pending.is_due
    assert len(pending.take()) == 5


def test_a_micro_batch_holds_so_many_that_teach_and_all_that_lies_between() -> None:
    """What is left is the next one, and the log's order stays."""
    pending = PendingBatch(CONFIG, Clock())
    given = records(0, 1, 0, 1, 1, 0, 1)
    pending.add(given)
    assert pending.is_due
    assert not pending.has_room
    taken = pending.take()
    assert [record.offset for record in taken] == [0, 1, 2, 3, 4]
    assert pending.has_room
    assert not pending.is_due
    assert [record.offset for record in pending.take()] == [5, 6]


def test_a_micro_batch_of_views_is_bounded_by_its_records() -> None:
    """A stream of views alone does not pile up until the clock has run down."""
    pending = PendingBatch(CONFIG, Clock())
    pending.add(records(*[0] * 9))
    assert pending.is_due
    assert len(pending.take()) == 8
    assert len(pending.take()) == 1
    assert not pending


def test_a_record_that_is_no_sample_waits_like_what_only_counts() -> None:
    """It is counted when its batch is learnt; until then it must not hasten it."""
    pending = PendingBatch(CONFIG, Clock())
    pending.add([LogRecord(SAMPLES_TOPIC, 0, place, b"", b"{", 0) for place in range(5)])
    assert not pending.is_due
