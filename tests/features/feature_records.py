"""Records of the feature topics, as Flink writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from features.config import FeaturesConfig
from features.feature_topics import TOPIC_BY_VIEW, FeatureRow

NOW_MS = 1_790_000_000_000


@dataclass(frozen=True)
class Record:
    """What a Kafka consumer hands out, as far as the ingester looks."""

    key: bytes | None
    value: bytes | None
    timestamp: int = NOW_MS
    offset: int = 0
    partition: int = 0


def counts(half_life: int, epoch: int, events: float, positives: float = 0.0, negatives: float = 0.0) -> dict[str, Any]:
    """One `DecayedCounts`."""
    return {
        "half_life": half_life,
        "epoch": epoch,
        "events": events,
        "positives": positives,
        "negatives": negatives,
    }


def counter_value(entity_id: str, events: float, event_time_ms: int = NOW_MS) -> bytes:
    """A `CounterRow` with one number."""
    row = {"entity_id": entity_id, "counters": [counts(0, 7, events)], "event_time_ms": event_time_ms}
    return json.dumps(row).encode()


def history_value(user_id: str, entries: Sequence[tuple[str, int, str]]) -> bytes:
    """A `HistoryRow` of clicks: (item_id, event_time_ms, event_id)."""
    row = {
        "entity_id": user_id,
        "entries": [
            {"item_id": item, "action": "click", "event_time_ms": time_ms, "event_id": event, "outcome": 1}
            for item, time_ms, event in entries
        ],
        "event_time_ms": max((time_ms for _, time_ms, _ in entries), default=0),
    }
    return json.dumps(row).encode()


def category_value(user_id: str, entries: Sequence[tuple[str, int, float]]) -> bytes:
    """A `CategoryRow`: (category, epoch, events)."""
    row = {
        "entity_id": user_id,
        "categories": [
            {"category": name, "epoch": epoch, "events": events, "positives": 0.0, "negatives": 0.0}
            for name, epoch, events in entries
        ],
        "event_time_ms": NOW_MS,
    }
    return json.dumps(row).encode()


def decoded(view: str, key: str, value: bytes | None, record_time_ms: int = NOW_MS) -> FeatureRow:
    """The row of a record under the default limits."""
    return TOPIC_BY_VIEW[view].decode(key.encode(), value, record_time_ms, FeaturesConfig())
