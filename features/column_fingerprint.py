"""Which columns online rows have, as one short text: rows that were written with others must be read again."""

from __future__ import annotations

import hashlib
import json

from features.config import FeaturesConfig
from features.declared_features import of_entity
from features.feature_topics import FEATURE_TOPICS


def column_fingerprint(config: FeaturesConfig) -> str:
    """Return 16 hex digits over names and meanings of all columns, whatever their order in the configuration."""
    views = {
        topic.view: {
            "fields": sorted(topic.fields.items()),
            "declared": {name: one.definition() for name, one in of_entity(config.declared, topic.entity).items()},
        }
        for topic in FEATURE_TOPICS
    }
    parts = {"half_lives_s": list(config.half_lives_s), "views": views}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
