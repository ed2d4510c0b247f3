"""What an upgrade carries over, and how far the next job has read."""

from __future__ import annotations

import json
from typing import Any

from kafka import TopicPartition

from compose.next_topics import num_read, num_records
from compose.upgrade_copies import letter_name, missing, sample_name
from tests.fakes import FakeRecord


def _record(fields: dict[str, Any] | bytes) -> FakeRecord:
    value = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return FakeRecord("t", 0, 0, b"u1", value)


def _sample(sample_id: str, kind: str = "organic", time_ms: int = 100) -> FakeRecord:
    return _record({"sample_id": sample_id, "kind": kind, "broker_time_ms": time_ms, "items": []})


def test_only_what_nobody_else_wrote_is_carried_over() -> None:
    """By id and kind: a correction is another sample than its event's; what is older than the switch stays."""
    here = [_sample("a"), _sample("b", "impression"), _record(b"garbage")]
    there = [_sample("a"), _sample("b", "correction"), _sample("c"), _sample("d", time_ms=99), _record(b"garbage")]
    found = missing(there, here, 100, sample_name)
    assert [json.loads(value or b"")["sample_id"] for _, value in found] == ["b", "c"]


def test_a_letter_is_named_by_the_place_of_its_record_and_the_reason() -> None:
    """One event may be two letters."""

    def letter(offset: int, reason: str) -> FakeRecord:
        return _record({"topic": "e", "partition": 1, "offset": offset, "reason": reason, "record_time_ms": 100})

    found = missing([letter(1, "x"), letter(1, "y"), letter(2, "x")], [letter(1, "x")], 0, letter_name)
    assert len(found) == 2


def test_a_partition_that_retention_has_emptied_is_not_waited_for() -> None:
    """Flink commits no offset where it read nothing; of others only what is still there counts."""
    emptied, half = TopicPartition("e", 0), TopicPartition("e", 1)
    beginnings, ends = {emptied: 9, half: 5}, {emptied: 9, half: 8}
    assert num_records(beginnings, ends) == 3
    assert num_read(beginnings, ends, {emptied: 0, half: 0}) == 0
    assert num_read(beginnings, ends, {emptied: 0, half: 7}) == 2
    assert num_read(beginnings, ends, {emptied: 0, half: 20}) == 3
