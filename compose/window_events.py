"""The events of a window of broker time, as Kafka still has them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from compose.topic_scan import scan_topic
from features.json_records import JsonDecoder
from streams.kafka_tables import BACKFILL_TOPIC, EVENTS_TOPIC


class _Event(msgspec.Struct):
    user_id: str
    item_id: str
    event_time_ms: int


@dataclass
class WindowEvents:
    """Whom a window touches."""

    records: int = 0
    """Records in it, events or not."""
    items_of: dict[str, dict[str, set[int]]] = field(default_factory=dict)
    """User -> item -> times of events, as the consumed set has them."""

    @property
    def users(self) -> set[str]:
        """Everybody who has an event in it."""
        return set(self.items_of)

    @property
    def items(self) -> set[str]:
        """Everything that has an event in it."""
        return {item_id for items in self.items_of.values() for item_id in items}


_decode = JsonDecoder(_Event).decode


def read_window(bootstrap: str, start_ms: int, end_ms: int, skew_ms: int) -> WindowEvents:
    """Return the events that the broker took within [start_ms, end_ms).

    Args:
        bootstrap: Kafka's servers.
        start_ms: broker time.
        end_ms: not included.
        skew_ms: how far ahead of the broker an event's time may be; later ones are set back to it.

    Raises:
        StackError: Kafka does not answer, or a topic does not exist.
    """
    found = WindowEvents()
    for topic in (EVENTS_TOPIC, BACKFILL_TOPIC):
        for record in scan_topic(bootstrap, topic, start_ms):
            if not start_ms <= record.timestamp < end_ms:
                continue
            found.records += 1
            try:
                event = _decode(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            time_ms = min(event.event_time_ms, record.timestamp + skew_ms)
            found.items_of.setdefault(event.user_id, {}).setdefault(event.item_id, set()).add(time_ms)
    return found
