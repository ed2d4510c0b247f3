"""The catalogue says what travels, and the committed one is that of the shipped configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.cli import main
from features.catalogue import MEANINGS, catalogue, describe
from features.config import AppConfig
from features.declared_features import DeclaredFeature
from features.feature_topics import FEATURE_TOPICS
from tests.features.declared import feature
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


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (feature("item", "ratio", positives=["like"], prior=0.05), "ratio of like over all events, prior 0.05 worth"),
        (feature("item", "mean", prior_strength=5), "mean of values over all events, drawn towards 0 by 5 events"),
        (feature("item", "distinct", of="user_id"), "distinct of user_id over all events, approximate (standard error"),
        (feature("item", "sum", scale=50), "sum of values over all events, in units of 50"),
        (feature("item", "last", actions=["rating"]), "last of values over events rating"),
        (feature("item", "count", description="Views | clicks,\n  of all."), "Views \\| clicks, of all: count over"),
    ],
)
def test_what_a_declaration_decides_is_told(declared: DeclaredFeature, said: str) -> None:
    """Priors, scales and errors too; and nothing breaks the table that it stands in."""
    assert describe(declared).startswith(said)


def test_a_catalogue_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, no traceback."""
    config, output = ROOT / "headrace.yaml", tmp_path / "no" / "folder.md"
    with pytest.raises(SystemExit, match="1"):
        main(["features", "catalogue", "--config", str(config), "--output", str(output)])
    assert "folder.md: No such file or directory; name another file" in capsys.readouterr().err
