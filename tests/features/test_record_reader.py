"""The quick reader finds what kafka-python's own finds."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from features.record_reader import QuickRecords
from tests.features.feature_records import NOW_MS

PARTITION = TopicPartition("t", 3)
RECORDS: list[tuple[bytes | None, bytes | None, list[Any]]] = [
    (b"u1", b"{}", []),
    (b"k" * 200, b"v" * 70_000, []),
    (b"gone", None, []),
    (None, b"", []),
    (b"h", b"x", [("name", b"value"), ("empty", None)]),
] + [(b"u%d" % number, b"v" * number, []) for number in range(300)]


def batches(*compressions: int) -> bytes:
    """The same records in several batches, one for each compression."""
    joined = b""
    for number, compression in enumerate(compressions):
        offset = number * len(RECORDS)
        builder = MemoryRecordsBuilder(magic=2, compression_type=compression, batch_size=2**24, offset=offset)
        for at, (key, value, headers) in enumerate(RECORDS):
            builder.append(NOW_MS + 50 * at, key, value, headers)
        builder.close()
        joined += bytes(builder.buffer())
    return joined


def read(reader: Any, data: bytes, fetch_offset: int = 0, step: int = 100) -> list[Any]:
    """Take records in steps, each with the next offset to fetch."""
    records = reader(fetch_offset, PARTITION, MemoryRecords(data))
    found = []
    while records and (taken := records.take(step)):
        found += [(r.partition, r.offset, r.timestamp, r.key, r.value) for r in taken]
        found.append(records.next_fetch_offset)
    return [*found, records.next_fetch_offset, records.records_read]


@pytest.mark.parametrize("compressions", [(0,), (0, 0), (0, 1, 0), (1,)], ids=["one", "two", "mixed", "compressed"])
@pytest.mark.parametrize("fetch_offset", [0, 7, 304])
def test_records_are_those_of_the_stock_reader(compressions: tuple[int, ...], fetch_offset: int) -> None:
    """From the middle of a batch, too, and through compressed ones."""
    data = batches(*compressions)
    assert read(QuickRecords, data, fetch_offset) == read(Fetcher.PartitionRecords, data, fetch_offset)


def test_a_damaged_batch_is_refused() -> None:
    """As by the stock reader: nothing of it is taken for rows."""
    data = bytearray(batches(0))
    data[-1] ^= 1
    for reader in (Fetcher.PartitionRecords, QuickRecords):
        with pytest.raises(CorruptRecordError):
            read(reader, bytes(data))


@pytest.mark.parametrize("at", [61, 65])
def test_wrong_lengths_are_refused(at: int) -> None:
    """Of a record or a key; also where no checksum is looked at."""
    data = bytearray(batches(0))
    data[at] ^= 0x42
    records = QuickRecords(0, PARTITION, MemoryRecords(bytes(data)), check_crcs=False)
    with pytest.raises(CorruptRecordError):
        records.take(100)


def test_a_wrong_number_of_records_is_refused() -> None:
    """One more than there are, and more than could be; also where no checksum is looked at."""
    for at in (60, 57):  # The last and the first byte of the count.
        data = bytearray(batches(0))
        data[at] += 1
        records = QuickRecords(0, PARTITION, MemoryRecords(bytes(data)), check_crcs=False)
        with pytest.raises(CorruptRecordError):  # Whole records that stand before the damage are handed out.
            records.take(1000) + records.take(1)
