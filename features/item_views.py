"""What is known of an item, and of all together, as of the newest event. Fresh within 100 ms (p50); no time window."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Array, Float64, Int64, String

from features.config import FeaturesConfig
from features.entities import item, scope
from features.feature_fields import declared_fields
from features.feature_log_source import feature_log_source
from features.user_views import ROW_TTL


def item_activity(features: FeaturesConfig) -> FeatureView:
    """Return the view of what was done with an item."""
    return FeatureView(
        name="item_activity",
        entities=[item],
        ttl=ROW_TTL,
        source=feature_log_source("item_activity"),
        schema=[
            Field(name="item_id", dtype=String),
            Field(name="item_counters", dtype=Array(Float64)),
            *declared_fields(features.declared, "item"),
            Field(name="item_activity_event_time_ms", dtype=Int64),
        ],
        description="Events, positives and negatives per half-life, 7 numbers each.",
    )


def item_exposure(_features: FeaturesConfig) -> FeatureView:
    """Return the view of how an item fared on lists."""
    return FeatureView(
        name="item_exposure",
        entities=[item],
        ttl=ROW_TTL,
        source=feature_log_source("item_exposure"),
        schema=[
            Field(name="item_id", dtype=String),
            Field(name="item_exposure", dtype=Array(Float64)),
            Field(name="item_exposure_event_time_ms", dtype=Int64),
        ],
        description="Lists, expected clicks and clicks per half-life, 7 numbers each.",
    )


def global_activity(features: FeaturesConfig) -> FeatureView:
    """Return the view of all events together."""
    return FeatureView(
        name="global_activity",
        entities=[scope],
        ttl=ROW_TTL,
        source=feature_log_source("global_activity"),
        schema=[
            Field(name="scope", dtype=String),
            *declared_fields(features.declared, "global"),
            Field(name="global_activity_event_time_ms", dtype=Int64),
        ],
        description="Declared features over all events; one row, scope `all`.",
    )
