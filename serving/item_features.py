"""Keeps this process's item table at the newest counters and item records that Kafka holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.errors import BadRowError
from features.feature_topics import TOPIC_BY_NAME, decode_entity_id
from features.item_table import ItemTable
from serving.topic_reader import TopicReader

logger = logging.getLogger(__name__)

ITEM_COUNTERS_TOPIC = "headrace.features.item_counters.v1"
ITEMS_TOPIC = "headrace.items.v1"


class _Item(msgspec.Struct):
    item_id: str
    categories: list[str] = []
    is_available: bool = True
    published_time_ms: int = 0
    expires_time_ms: int = 0


class _Removal(msgspec.Struct):
    item_id: str


class _Counters(msgspec.Struct):
    item_id: str
    flat: NDArray[np.float64]


_Change = _Item | _Removal | _Counters

_decode_item = msgspec.json.Decoder(_Item).decode


class ItemFeatures:
    """The item table and the reader that feeds it.

    The table changes on the event loop only, so a request between two awaits sees one state of it.

    Args:
        connect: makes a Kafka consumer.
        features: half-lives of the counters.
    """

    def __init__(self, connect: Callable[[], Any], features: FeaturesConfig) -> None:
        self.table = ItemTable(features)
        self.unreadable_records = 0
        self._features = features
        self._reader = TopicReader(connect, (ITEMS_TOPIC, ITEM_COUNTERS_TOPIC), self.decode_change, self.apply_changes)

    async def start(self, catch_up_s: float) -> bool:
        """Begin reading and wait for what is there already; False where that took longer than `catch_up_s`."""
        self._reader.start()
        return await self._reader.wait_until_caught_up(catch_up_s)

    async def stop(self) -> None:
        """Stop reading."""
        await self._reader.stop()

    @property
    def is_connected(self) -> bool:
        """Whether Kafka answers the reader."""
        return self._reader.is_connected

    def next_offsets(self) -> dict[str, int]:
        """Return `topic:partition` -> next offset to read."""
        return self._reader.next_offsets()

    def apply_changes(self, changes: list[_Change]) -> None:
        """Write decoded records into the table, in order."""
        for change in changes:
            if isinstance(change, _Counters):
                self.table.set_counters(change.item_id, change.flat)
            elif isinstance(change, _Removal):
                self.table.remove_item(change.item_id)
            else:
                self.table.set_item(
                    change.item_id,
                    change.categories,
                    change.is_available,
                    change.published_time_ms,
                    change.expires_time_ms,
                )

    def decode_change(self, record: Any) -> _Change | None:
        """Decode one record; what cannot be read is counted and skipped: one bad record must not stop the others."""
        try:
            if record.topic != ITEMS_TOPIC:
                return self._decode_counters(record)
            if record.value is None:
                return _Removal(decode_entity_id(record.key))
            return _decode_item(record.value)
        except (BadRowError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.unreadable_records += 1
            logger.warning("skipped %s:%d@%d: %s", record.topic, record.partition, record.offset, error)
            return None

    def _decode_counters(self, record: Any) -> _Counters | None:
        row = TOPIC_BY_NAME[record.topic].decode(record.key, record.value, record.timestamp, self._features)
        flat = row.fields["item_counters"]
        if flat is None:  # Deleted upstream: the counters that are left decay by themselves.
            return None
        return _Counters(row.entity_id, np.array(flat, dtype=np.float64))
