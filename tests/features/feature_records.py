"""Records of the feature topics: in JSON, as by hand, and packed, as the jobs write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from features.config import FeaturesConfig
from features.declared_table import CountedEvent
from features.feast_values import encode_value
from features.feature_topics import TOPIC_BY_VIEW, FeatureRow, FeatureTopic
from protos import features_pb2

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


def span(epoch: int, events: float, positives: float = 0.0, negatives: float = 0.0) -> list[float]:
    """The seven numbers of one half-life, nothing in the epoch before."""
    return [epoch, events, positives, negatives, 0.0, 0.0, 0.0]


def counters(events: float) -> list[float]:
    """Counters with one number."""
    return span(7, events) + [0.0] * 7 * (NUM_HALF_LIVES - 1)


def user_value(user_id: str, events: float = 1.0, event_time_ms: int = NOW_MS, **fields: Any) -> bytes:
    """A `UserActivity` with one number; what Flink has nothing to say of is null."""
    names = ("history_item_ids", "history_actions", "history_times_ms", "history_outcomes")
    nulls = dict.fromkeys((*names, "category_names", "category_counts"))
    row = {"entity_id": user_id, "counters": counters(events), **nulls, "event_time_ms": event_time_ms}
    return json.dumps(row | fields).encode()


def history(entries: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The history columns of clicks, newest first: (item_id, event_time_ms)."""
    return {
        "history_item_ids": [item_id for item_id, _ in entries],
        "history_actions": ["click"] * len(entries),
        "history_times_ms": [time_ms for _, time_ms in entries],
        "history_outcomes": [1] * len(entries),
    }


def categories(entries: Sequence[tuple[str, int, float]]) -> dict[str, Any]:
    """The category columns: (category, epoch, events)."""
    return {
        "category_names": [name for name, _, _ in entries],
        "category_counts": [number for _, epoch, events in entries for number in span(epoch, events)],
    }


def item_value(item_id: str, events: float = 1.0, event_time_ms: int = NOW_MS, **fields: Any) -> bytes:
    """An `ItemActivity` with one number."""
    row = {"entity_id": item_id, "counters": counters(events), "event_time_ms": event_time_ms}
    return json.dumps(row | fields).encode()


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


def row_value(entity_id: str, event_time_ms: int, **columns: Any) -> bytes:
    """Any row."""
    return json.dumps({"entity_id": entity_id, "event_time_ms": event_time_ms, **columns}).encode()


def shown_value(user_id: str, entries: Sequence[tuple[str, int]]) -> bytes:
    """A `UserExposure`, newest first: (item_id, served_time_ms)."""
    columns = {"shown_item_ids": [item for item, _ in entries], "shown_times_ms": [time_ms for _, time_ms in entries]}
    return json.dumps({"entity_id": user_id, **columns, "event_time_ms": NOW_MS}).encode()


def exposure_value(item_id: str, lists: float, expected: float = 0.0, clicks: float = 0.0, epoch: int = 7) -> bytes:
    """An `ItemExposure` with numbers at the shortest half-life."""
    exposure = span(epoch, lists, expected, clicks) + [0.0] * 7 * (NUM_HALF_LIVES - 1)
    return json.dumps({"entity_id": item_id, "exposure": exposure, "event_time_ms": NOW_MS}).encode()


def global_value(**features: Any) -> bytes:
    """The one `GlobalActivity`."""
    return json.dumps({"entity_id": "all", "features": features, "event_time_ms": NOW_MS}).encode()


def packed(entry: FeatureTopic, value: bytes) -> bytes:
    """A JSON row as a job writes it: a `FeatureRow`, absent lists empty."""
    row = entry.decoder.decode(value)
    names = [name for name in row.__struct_fields__ if name not in ("event_time_ms", "features", "entity_id")]
    kinds = list(entry.fields.values())[:-1]
    values = [encode_value(kind, getattr(row, name) or []) for name, kind in zip(names, kinds, strict=True)]
    declared = getattr(row, "features", None) or {}
    return features_pb2.FeatureRow(
        entity_id=row.entity_id,
        event_time_ms=row.event_time_ms,
        values=values,
        declared={name: encode_value("double_list", numbers) for name, numbers in declared.items() if numbers},
    ).SerializeToString()


def decoded(
    view: str, key: str, value: bytes | None, record_time_ms: int = NOW_MS, config: FeaturesConfig | None = None
) -> FeatureRow:
    """The row of a record, under the default limits where no others are given."""
    return TOPIC_BY_VIEW[view].decode(key.encode(), value, record_time_ms, config or FeaturesConfig())


def counted(
    item_id: str = "i", time_ms: int = NOW_MS, event_id: str = "e", user_id: str = "u", **fields: Any
) -> CountedEvent:
    """An event as tables count it: a click without a value unless said."""
    return CountedEvent(event_id, user_id, item_id, fields.get("action", "click"), fields.get("value"), time_ms)
