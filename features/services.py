"""The contracts between feature rows and their readers. A changed meaning is a new name, never an edit."""

from __future__ import annotations

from feast import FeatureService

from features.item_views import item_counters
from features.user_views import user_categories, user_counters, user_history

ranker_user_v1 = FeatureService(
    name="ranker_user_v1",
    features=[user_counters, user_categories, user_history],
    description="All that the ranker and the candidate sources need of a user.",
)

ranker_item_v1 = FeatureService(
    name="ranker_item_v1",
    features=[item_counters],
    description="All that the ranker needs of an item.",
)
