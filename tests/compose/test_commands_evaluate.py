"""`headrace evaluate` as a user runs it: metrics on stdout, one sentence and an exit code for what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.compose.test_cli import run
from tests.trainer.evaluation.evaluation_parts import write_events, write_lists, write_table

_EVENTS = [("a", "x", "like"), ("b", "x", "view"), ("b", "y", "like"), ("a", "y", "like")]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The smallest configuration."""
    path = tmp_path / "headrace.yaml"
    path.write_text("actions: {like: {outcome: positive}, view: {outcome: neutral}}\n")
    return path


def test_metrics_are_printed_and_written(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables for people, the contract's JSON, a picture; baselines beside the learner."""
    events = write_events(tmp_path / "events.parquet", _EVENTS)
    items = write_table(tmp_path / "items.parquet", {"item_id": ["x"], "categories": [["a"]]})
    out, picture = tmp_path / "out.json", tmp_path / "out.html"
    words = ["evaluate", str(events), "--items", str(items), "--config", str(config), "--baseline", "popularity"]
    assert run(*words, "--json", str(out), "--picture", str(picture)) == 0
    result = json.loads(out.read_text())
    assert (result["samples"], result["organic"]["events"]) == (4, 2)
    assert set(result["baselines"]) == {"popularity"}
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("organic", "headrace", "popularity", "by slice", "user=new", "by day, UTC"))
    assert picture.read_text().startswith("<!doctype html>")


def test_json_on_stdout_is_json_only(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fit for a pipe."""
    events = write_events(tmp_path / "events.parquet", _EVENTS, request_id=["", "", "r", ""])
    served = write_lists(tmp_path / "served.parquet", [("r", "b", 1, ["x", "y"])])
    assert run("evaluate", str(events), "--served", str(served), "--config", str(config), "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["served"]["requests"] == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.parquet"], 2, "none.parquet does not exist"),
        (["events.parquet", "--items", "events.parquet"], 0, ""),
        (["events.parquet", "--served", "events.parquet"], 2, "lacks the column request_id"),
        (["events.parquet", "--picture", "out.png"], 2, "ends in .html or .svg"),
        (["events.parquet", "--baseline", "coviztation"], 2, "did you mean 'covisitation'"),
        (["events.parquet", "--score-from", "99999999999999"], 2, "is later than the last event"),
        (["events.parquet", "--json", "no/such/folder/out.json"], 1, "cannot write"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str],
    code: int,
    said: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """File, column or option, and the mend."""
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "events.parquet", _EVENTS)
    assert run("evaluate", *words, "--config", str(config)) == code
    assert said in capsys.readouterr().err


def test_reward_of_arms_is_printed_and_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--ips` learns nothing: a row an arm, and its JSON alone; without lists it says what it needs."""
    events = write_events(tmp_path / "events.parquet", _EVENTS, request_id=["", "", "r", ""])
    lists: dict[str, Any] = {"request_id": ["r", "r"], "user_id": ["b", "b"], "item_id": ["y", "x"], "position": [0, 1]}
    chances = {"served_time_ms": [1, 1], "propensity": [0.5, 1.0], "explored": [False, False]}
    served = write_table(tmp_path / "served.parquet", lists | chances)
    words = ["evaluate", str(events), "--ips", "--config", str(config)]
    assert run(*words, "--served", str(served), "--json", "-") == 0
    (arm,) = json.loads(capsys.readouterr().out)["ips"].items()
    assert (arm[0], arm[1]["lists"]) == ("default", 1)
    assert run(*words, "--served", str(served)) == 0
    assert "without draws" in capsys.readouterr().out
    assert run(*words) == 2
    assert "--ips needs --served" in capsys.readouterr().err
