"""The picture is one file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from features.config import AppConfig
from tests.trainer.evaluation.evaluation_parts import small_learner, stream_of, write_events
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.outcome import Outcome
from trainer.evaluation.picture import check_picture, panels_of, svg, write_picture
from trainer.evaluation.replay import Replay


@pytest.fixture
def outcome(app: AppConfig, tmp_path: Path) -> Outcome:
    """A run of a few events."""
    events = [(f"u{n % 5}", f"i{n % 7}", "like") for n in range(80)]
    return Replay(small_learner(app), stream_of(app, write_events(tmp_path / "e.parquet", events))).run()


def test_svg_is_well_formed_and_has_a_line_a_method(outcome: Outcome) -> None:
    """One panel for each metric that there is; names are escaped."""
    other = Outcome("<b> & co", *[getattr(outcome, name) for name in list(Outcome.__dataclass_fields__)[1:]])
    panels = panels_of([outcome, other])
    root = ElementTree.fromstring(svg(panels))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [panel.title for panel in panels] == ["HR@10, organic", "Candidate recall"]
    assert len(lines) == 4


def test_html_stands_alone(outcome: Outcome, tmp_path: Path) -> None:
    """No script, no link, no font from elsewhere."""
    write_picture(tmp_path / "curves.html", [outcome], "title <x>")
    text = (tmp_path / "curves.html").read_text()
    assert "<svg" in text
    assert "title &lt;x&gt;" in text
    assert not any(word in text for word in ("<script", "href", "src=", "@import"))


def test_nothing_scored_is_a_picture_too() -> None:
    """It says so."""
    assert "nothing was scored" in svg([])


def test_other_kinds_are_refused_with_the_mend(tmp_path: Path) -> None:
    """Before anything is replayed."""
    with pytest.raises(EvaluationError, match=r"name a file that ends in \.html or \.svg"):
        check_picture(tmp_path / "curves.png")
