"""Features of every aggregation and entity, as a team would declare them."""

from __future__ import annotations

from typing import Any

from features.config import FeaturesConfig
from features.declared_features import DeclaredFeature

HOUR_S, DAY_S = 3600.0, 86_400.0


def feature(entity: str, aggregation: str, **fields: Any) -> DeclaredFeature:
    """A feature as the configuration gives it."""
    return DeclaredFeature.model_validate({"entity": entity, "aggregation": aggregation, **fields})


DECLARED = {
    "user_views": feature("user", "count", actions=["view"], window_s=HOUR_S),
    "user_spent": feature("user", "sum", actions=["purchase"], half_lives_s=[HOUR_S, DAY_S]),
    "user_last_rating": feature("user", "last", actions=["rating"]),
    "item_rating": feature("item", "mean", actions=["rating"], prior_strength=5),
    "item_best_rating": feature("item", "max", when="value >= 2"),
    "item_audience": feature("item", "distinct", of="user_id"),
    "item_like_share": feature("item", "ratio", positives=["like"], half_lives_s=[DAY_S]),
    "item_silence": feature("item", "time_since_last"),
    "global_likes": feature("global", "count", actions=["like"]),
}
"""One of each, some with spans."""

DECLARING = FeaturesConfig(declared=DECLARED)
"""The default configuration with them."""
