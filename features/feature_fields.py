"""Declared features as Feast fields. The tag `definition` names the meaning, so that a changed one is noticed."""

from __future__ import annotations

from collections.abc import Mapping

from feast import Field
from feast.types import Array, Float64

from features.declared_features import DeclaredFeature, of_entity

DEFINITION = "definition"
"""Name of the tag."""
HALF_LIVES = "half_lives_s"
"""Tag of a view with counters: the half-lives that their numbers are of, as JSON."""
RETIRED = "retired"
"""Tag of a view: the features that were once declared in it, by name with their meaning, as JSON."""


def declared_fields(declared: Mapping[str, DeclaredFeature], entity: str) -> list[Field]:
    """Return one field of raw numbers for each declared feature of an entity."""
    return [
        Field(
            name=name,
            dtype=Array(Float64),
            description=feature.description,
            tags={DEFINITION: feature.definition()},
        )
        for name, feature in of_entity(declared, entity).items()
    ]
