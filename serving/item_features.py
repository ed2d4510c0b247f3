"""Keeps this process's item table at the newest counters and item records that Kafka holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.declared_features import of_entity
from features.errors import BadRowError
from features.feature_topics import TOPIC_BY_NAME, TOPIC_BY_VIEW, FeatureRow, decode_entity_id
from features.item_table import ItemTable
from features.json_records import JsonDecoder
from serving.topic_reader import TopicReader

logger = logging.getLogger(__name__)

ROW_TOPICS = tuple(TOPIC_BY_VIEW[view].topic for view in ("item_activity", "item_exposure", "global_activity"))
ITEMS_TOPIC = "headrace.items.v1"


_TimeMs = Annotated[int, msgspec.Meta(gt=-(10**18), lt=10**18)]
"""What arrays of 64 bits hold: one record of a confused producer must not end the reading of all others."""


class _Item(msgspec.Struct):
    item_id: str
    categories: list[str] | None = None
    is_available: bool | None = True
    published_time_ms: _TimeMs | None = 0
    expires_time_ms: _TimeMs | None = 0


class _Removal(msgspec.Struct):
    item_id: str


_Change = _Item | _Removal | FeatureRow

_decode_item = JsonDecoder(_Item).decode


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
        self._reader = TopicReader(connect, (ITEMS_TOPIC, *ROW_TOPICS), self.decode_change, self.apply_changes)

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
            if isinstance(change, FeatureRow):
                self._apply_row(change)
            elif isinstance(change, _Removal):
                self.table.remove_item(change.item_id)
            else:
                self.table.set_item(
                    change.item_id,
                    change.categories or (),
                    change.is_available is not False,
                    change.published_time_ms or 0,
                    change.expires_time_ms or 0,
                )

    def decode_change(self, record: Any) -> _Change | None:
        """Decode one record; what cannot be read is counted and skipped: one bad record must not stop the others."""
        try:
            if record.topic != ITEMS_TOPIC:
                return self._decode_row(record)
            if record.value is None:
                return _Removal(decode_entity_id(record.key))
            return _decode_item(record.value)
        except (BadRowError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.unreadable_records += 1
            logger.warning("skipped %s:%d@%d: %s", record.topic, record.partition, record.offset, error)
            return None

    def _decode_row(self, record: Any) -> FeatureRow | None:
        if record.value is None:  # Deleted upstream: what is left decays by itself.
            return None
        return TOPIC_BY_NAME[record.topic].decode(record.key, record.value, record.timestamp, self._features)

    def _apply_row(self, row: FeatureRow) -> None:
        if row.view == "item_activity":
            self.table.set_counters(row.entity_id, np.array(row.fields["item_counters"], dtype=np.float64))
            self.table.set_declared(row.entity_id, self._declared(row, "item"))
        elif row.view == "item_exposure":
            self.table.set_exposure(row.entity_id, np.array(row.fields["item_exposure"], dtype=np.float64))
        else:
            self.table.global_declared.set_row(0, self._declared(row, "global"))

    def _declared(self, row: FeatureRow, entity: str) -> NDArray[np.float64]:
        numbers = [row.fields[name] for name in of_entity(self._features.declared, entity)]
        return np.array([number for feature in numbers for number in feature], dtype=np.float64)  # type: ignore[union-attr]
