"""Calls every compiled function of the ingester once, so that no row waits for a compiler."""

from __future__ import annotations

from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from features.config import FeaturesConfig
from features.consumed_items import pack_history
from features.feast_values import encode_value
from features.feature_log_columns import EVENT_TIMES, IDS, PackedRows, arrow_table, log_layouts
from features.record_reader import read_batch

_NOW_MS = 1_700_000_000_000


def warm_up_ingester() -> None:
    """Find a record, pack a history, and unpack a row of the feature log."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1024)
    builder.append(_NOW_MS, b"u", b"row", [])
    builder.close()
    list(read_batch(0, MemoryRecords(bytes(builder.buffer())).next_batch()))
    item_ids, times_ms = encode_value("string_list", ["a"]), encode_value("int64_list", [_NOW_MS])
    pack_history(item_ids, times_ms)
    row: PackedRows = {
        IDS: ["u"],
        EVENT_TIMES: [_NOW_MS],
        "user_shown_item_ids": [item_ids],
        "user_shown_times_ms": [times_ms],
        "user_exposure_event_time_ms": [encode_value("int64", _NOW_MS)],
    }
    arrow_table(log_layouts(FeaturesConfig())["user_exposure"], [(_NOW_MS, row)])
