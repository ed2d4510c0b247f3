"""What is known of a user, as of that user's newest event or list. Fresh within 100 ms (p50); rows have no time window.

Numbers are raw (`protos/features.proto`): readers decay them to now.
"""

from __future__ import annotations

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Array, Float64, Int64, String

from features.config import FeaturesConfig
from features.entities import user
from features.feature_fields import declared_fields
from features.feature_log_source import feature_log_source

ROW_TTL = timedelta(0)
"""None: a row holds until the next one, as it does online; counters decay by themselves."""


def user_activity(features: FeaturesConfig) -> FeatureView:
    """Return the view of what a user did."""
    return FeatureView(
        name="user_activity",
        entities=[user],
        ttl=ROW_TTL,
        source=feature_log_source("user_activity"),
        schema=[
            Field(name="user_id", dtype=String),
            Field(name="user_counters", dtype=Array(Float64)),
            Field(name="user_history_item_ids", dtype=Array(String)),
            Field(name="user_history_actions", dtype=Array(String)),
            Field(name="user_history_times_ms", dtype=Array(Int64)),
            Field(name="user_history_outcomes", dtype=Array(Int64)),
            Field(name="user_category_names", dtype=Array(String)),
            Field(name="user_category_counts", dtype=Array(Float64)),
            *declared_fields(features.declared, "user"),
            Field(name="user_activity_event_time_ms", dtype=Int64),
        ],
        description="Counters, newest events and category affinity; 7 numbers per half-life, and per category.",
    )


def user_exposure(_features: FeaturesConfig) -> FeatureView:
    """Return the view of what a user was shown."""
    return FeatureView(
        name="user_exposure",
        entities=[user],
        ttl=ROW_TTL,
        source=feature_log_source("user_exposure"),
        schema=[
            Field(name="user_id", dtype=String),
            Field(name="user_shown_item_ids", dtype=Array(String)),
            Field(name="user_shown_times_ms", dtype=Array(Int64)),
            Field(name="user_exposure_event_time_ms", dtype=Int64),
        ],
        description="The newest items on the user's lists, newest first, an item as often as it was shown.",
    )
