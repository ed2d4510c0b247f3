"""The contracts between feature rows and their readers. A changed meaning is a new name, never an edit."""

from __future__ import annotations

from feast import FeatureService, FeatureView

from features.config import FeaturesConfig
from features.model_inputs import item_service, user_service


def ranker_services(features: FeaturesConfig, views: dict[str, FeatureView]) -> tuple[FeatureService, ...]:
    """Return the services that the ranker reads through, named by `features.service_version`.

    Args:
        features: names the version.
        views: all views by name.
    """
    return (
        FeatureService(
            name=user_service(features),
            features=[views["user_activity"], views["user_exposure"]],
            description="All that the ranker and the candidate sources need of a user.",
        ),
        FeatureService(
            name=item_service(features),
            features=[views["item_activity"], views["item_exposure"]],
            description="What the ranker needs of an item; the server gets it from the topics, not from here.",
        ),
    )
