"""The catalogue says what travels, and the committed one is that of the shipped configuration."""

from __future__ import annotations

from features.catalogue import MEANINGS, catalogue
from features.config import AppConfig
from features.declared_features import DeclaredFeature
from features.feature_topics import FEATURE_TOPICS
from tests.running_stack import ROOT


def test_every_column_has_a_meaning() -> None:
    """No column of a view goes unexplained, and nothing is explained that does not travel."""
    assert {name for topic in FEATURE_TOPICS for name in topic.fields} == set(MEANINGS)


def test_the_committed_catalogue_is_current(app: AppConfig) -> None:
    """`headrace features catalogue > docs/feature-catalogue.md` writes it again."""
    assert (ROOT / "docs" / "feature-catalogue.md").read_text(encoding="utf-8") == catalogue(app)


def test_a_declared_feature_stands_in_its_view_and_among_the_inputs(app: AppConfig) -> None:
    """Name, meaning, width and model inputs follow from the declaration alone."""
    spent = DeclaredFeature(entity="user", aggregation="sum", actions=("purchase",), half_lives_s=(3600, 86400))
    features = app.features.model_copy(update={"declared": {"user_spent": spent}})
    text = catalogue(app.model_copy(update={"features": features}))
    assert "sum of values over events purchase, decayed with half-lives 3600 s, 86400 s (6 numbers)" in text
    assert "**user_spent_3600s**, **user_spent_86400s**" in text
