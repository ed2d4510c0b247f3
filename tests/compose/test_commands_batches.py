"""`headrace batches`: what was refused, one line each, and one of them with its arrays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compose.status import trainer_warnings
from tests.compose.test_cli import run
from tests.trainer.test_refused_batches import _RUNS, refused
from trainer.refused_batches import RefusedBatches


def test_list_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and reasons; then records by offset and what each array holds."""
    RefusedBatches(tmp_path / "trainer" / "refused_batches").keep(refused(7), _RUNS)
    assert run("batches", "list", "--state", str(tmp_path)) == 0
    assert capsys.readouterr().out == "000000000007-ranker  the loss is nan\n"
    assert run("batches", "list", "--state", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["step"] == 7
    assert run("batches", "show", "000000000007-ranker", "--state", str(tmp_path)) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["runs"] == [["headrace.samples.v1:0", 3, 9, 6, 1]]
    assert shown["arrays"]["inputs"]["not_finite"] == 1


def test_none_and_unknown_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No state at all is no batch either."""
    assert run("batches", "list", "--state", str(tmp_path / "none")) == 0
    assert capsys.readouterr().out == "no batch was refused\n"
    assert run("batches", "show", "x", "--state", str(tmp_path)) == 1
    assert "`headrace batches list` names" in capsys.readouterr().err


def test_status_names_the_command() -> None:
    """A warning where steps were not taken, none where all were."""
    told = {"refused_batches": {"kept": 2}, "steps": {"non_finite_steps": 3}}
    assert any("3 steps" in text and "`headrace batches list`" in text for text in trainer_warnings(told))
    assert trainer_warnings({"refused_batches": {"kept": 0}, "steps": {"non_finite_steps": 0}}) == []
