"""An answer that was refused is not read on in: kafka-python's loop would never end."""

from __future__ import annotations

import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from features.kafka_consumer import RefusableRecords
from features.record_reader import QuickRecords


def batch(first: int) -> bytes:
    """Three records in a batch of their own."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=2**16, offset=first)
    for number in range(first, first + 3):
        builder.append(1_700_000_000_000, b"key", b"%d" % number, [])
    builder.close()
    return bytes(builder.buffer())


@pytest.mark.parametrize("reader", [RefusableRecords, QuickRecords])
def test_an_answer_is_dropped_behind_its_damage(reader: type[RefusableRecords]) -> None:
    """The whole batch before is handed out, the damage is told once, and the answer is over; its place is kept."""
    damaged = bytearray(batch(0) + batch(3))
    damaged[-1] ^= 1
    records = reader(0, TopicPartition("t", 0), MemoryRecords(bytes(damaged)))
    assert [record.value for record in records.take(100)] == [b"0", b"1", b"2"]
    with pytest.raises(CorruptRecordError):
        records.take(100)
    assert not records
    assert records.next_fetch_offset == 3
