"""What is known of an item, as of its newest event. Fresh within 100 ms (p50); rows have no time window."""

from __future__ import annotations

from feast import FeatureView, Field, FileSource
from feast.types import Array, Float64, Int64, String

from features.entities import item
from features.user_views import ROW_TTL

item_counters = FeatureView(
    name="item_counters",
    entities=[item],
    ttl=ROW_TTL,
    source=FileSource(
        name="item_counters_log", path="feature_log/item_counters.parquet", timestamp_field="event_timestamp"
    ),
    schema=[
        Field(name="item_id", dtype=String),
        Field(name="item_counters", dtype=Array(Float64)),
        Field(name="item_counters_event_time_ms", dtype=Int64),
    ],
    description="Events, positives and negatives per half-life, 7 numbers each.",
)
