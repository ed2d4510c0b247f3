"""What is known of a user, as of that user's newest event. Fresh within 100 ms (p50); rows have no time window.

Counters are raw forward-decayed sums (`docs/design.md`, "Feature rows"): readers decay them to now.
"""

from __future__ import annotations

from datetime import timedelta

from feast import FeatureView, Field, FileSource
from feast.types import Array, Float64, Int64, String

from features.entities import user

ROW_TTL = timedelta(days=30)
"""For point-in-time joins. Online reads ignore it (Feast does not apply it there): counters decay by themselves."""

user_counters = FeatureView(
    name="user_counters",
    entities=[user],
    ttl=ROW_TTL,
    source=FileSource(
        name="user_counters_log", path="feature_log/user_counters.parquet", timestamp_field="event_timestamp"
    ),
    schema=[
        Field(name="user_id", dtype=String),
        Field(name="user_counters", dtype=Array(Float64)),
        Field(name="user_counters_event_time_ms", dtype=Int64),
    ],
    description="Events, positives and negatives per half-life, 7 numbers each.",
)

user_categories = FeatureView(
    name="user_categories",
    entities=[user],
    ttl=ROW_TTL,
    source=FileSource(
        name="user_categories_log", path="feature_log/user_categories.parquet", timestamp_field="event_timestamp"
    ),
    schema=[
        Field(name="user_id", dtype=String),
        Field(name="user_category_names", dtype=Array(String)),
        Field(name="user_category_counts", dtype=Array(Float64)),
        Field(name="user_categories_event_time_ms", dtype=Int64),
    ],
    description="Affinity per category at the longest half-life, 7 numbers per name.",
)

user_history = FeatureView(
    name="user_history",
    entities=[user],
    ttl=ROW_TTL,
    source=FileSource(
        name="user_history_log", path="feature_log/user_history.parquet", timestamp_field="event_timestamp"
    ),
    schema=[
        Field(name="user_id", dtype=String),
        Field(name="user_history_item_ids", dtype=Array(String)),
        Field(name="user_history_actions", dtype=Array(String)),
        Field(name="user_history_times_ms", dtype=Array(Int64)),
        Field(name="user_history_outcomes", dtype=Array(Int64)),
        Field(name="user_history_event_time_ms", dtype=Int64),
    ],
    description="The newest events, newest first by (event_time_ms, event_id).",
)
