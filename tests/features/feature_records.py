"""Records of the feature topics, as Flink writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from features.config import FeaturesConfig
from features.feature_topics import TOPIC_BY_VIEW, FeatureRow

NOW_MS = 1_790_000_000_000
NUM_HALF_LIVES = len(FeaturesConfig().half_lives_s)


@dataclass(frozen=True)
class Record:
    """What a Kafka consumer hands out, as far as the ingester looks."""

    key: bytes | None
    value: bytes | None
    timestamp: int = NOW_MS
    offset: int = 0
    partition: int = 0


def counter_value(entity_id: str, events: float, event_time_ms: int = NOW_MS) -> bytes:
    """A `UserActivity` or `ItemActivity` with that many events at every half-life."""
    return row_value(entity_id, event_time_ms, counters=[7.0, events, 0.0, 0.0, 0.0, 0.0, 0.0] * NUM_HALF_LIVES)


def history_value(user_id: str, entries: Sequence[tuple[str, int, str]]) -> bytes:
    """A `UserActivity` with clicks, newest first by (event_time_ms, event_id): (item_id, event_time_ms, event_id)."""
    newest = sorted(entries, key=lambda entry: entry[1:], reverse=True)
    return row_value(
        user_id,
        max((time_ms for _, time_ms, _ in entries), default=0),
        history_item_ids=[item_id for item_id, _, _ in newest],
        history_actions=["click"] * len(newest),
        history_times_ms=[time_ms for _, time_ms, _ in newest],
        history_outcomes=[1] * len(newest),
    )


def category_value(user_id: str, entries: Sequence[tuple[str, int, float]]) -> bytes:
    """A `UserActivity` with categories: (category, epoch, events)."""
    return row_value(
        user_id,
        NOW_MS,
        category_names=[name for name, _, _ in entries],
        category_counts=[n for _, epoch, events in entries for n in (float(epoch), events, 0.0, 0.0, 0.0, 0.0, 0.0)],
    )


def shown_value(user_id: str, shown: Sequence[tuple[str, int]]) -> bytes:
    """A `UserExposure`: (item_id, time_ms)."""
    ids, times_ms = [item_id for item_id, _ in shown], [time_ms for _, time_ms in shown]
    return row_value(user_id, NOW_MS, shown_item_ids=ids, shown_times_ms=times_ms)


def exposure_value(item_id: str, lists: float) -> bytes:
    """An `ItemExposure` with that many lists at every half-life."""
    return row_value(item_id, NOW_MS, exposure=[7.0, lists, 0.0, 0.0, 0.0, 0.0, 0.0] * NUM_HALF_LIVES)


def row_value(entity_id: str, event_time_ms: int, **columns: Any) -> bytes:
    """Any row."""
    return json.dumps({"entity_id": entity_id, "event_time_ms": event_time_ms, **columns}).encode()


def decoded(view: str, key: str, value: bytes | None, record_time_ms: int = NOW_MS) -> FeatureRow:
    """The row of a record under the default limits."""
    return TOPIC_BY_VIEW[view].decode(key.encode(), value, record_time_ms, FeaturesConfig())
