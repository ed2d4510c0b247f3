"""The command line keeps its promises: JSON of data, --dry-run where something ends, one table of exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from compose import errors
from compose.errors import StackError
from compose.local_stack import LocalStack
from compose.reference.verbs_table import exit_codes, options_of, verbs
from tests.compose.test_cli import run
from tests.running_stack import ROOT

PRINTS_NO_DATA = {
    "completion": "a script for a shell",
    "serve": "becomes the server",
    "init": "writes files",
    "features apply": "a part of `up`, which logs",
    "features catalogue": "a document",
}
ENDS_OR_FORGETS = (
    "down",
    "init",
    "train",
    "rollback",
    "dlq replay",
    "forget",
    "models reject",
    "purge",
    "quality drop",
    "quality release",
    "streams upgrade",
    "streams savepoint",
    "streams restore",
    "tokens revoke",
)
VERBS = {" ".join(words): command for words, command in verbs()}


@pytest.mark.parametrize("verb", sorted(set(VERBS) - set(PRINTS_NO_DATA)))
def test_a_verb_that_prints_data_prints_json(verb: str) -> None:
    """Scripts read every answer."""
    assert "--json" in options_of(VERBS[verb])


@pytest.mark.parametrize("verb", ENDS_OR_FORGETS)
def test_a_verb_that_ends_something_says_what_first(verb: str) -> None:
    """Nothing is done before anybody could look."""
    assert "--dry-run" in options_of(VERBS[verb])


def test_every_error_has_its_code_in_the_table() -> None:
    """And no code stands for nothing."""
    told = {code for code, _ in exit_codes()}
    raised = {
        each.exit_code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, StackError)
    }
    assert told == raised | {0, 2, 130}


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The drawing at the top of `errors.py` tells each name and code."""
    drawn = dict(re.findall(r"(\w+Error)\s+(\d+)", errors.__doc__ or ""))
    real = {n: str(e.exit_code) for n, e in vars(errors).items() if isinstance(e, type) and issubclass(e, StackError)}
    assert drawn == real


def test_down_says_what_it_would_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stack of one part goes on behind it."""
    with LocalStack(ROOT / "headrace.yaml", tmp_path, parts=["redis"]) as stack:
        stack.start()
        assert run("down", "--dry-run", "--json", "--state", str(tmp_path)) == 0
        assert stack.pid_of("redis") in [each["pid"] for each in json.loads(capsys.readouterr().out)["ends"]]
        assert stack.pid_of("redis")
    assert run("down", "--dry-run", "--state", str(tmp_path)) == 3


def test_a_token_is_revoked_only_when_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret is told once, also as JSON."""
    state = ["--state", str(tmp_path)]
    assert run("tokens", "create", "shop", "--json", *state) == 0
    token = json.loads(capsys.readouterr().out)
    assert run("tokens", "revoke", "shop", "--dry-run", "--json", *state) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["revoked"]] == [token["id"]]
    assert run("tokens", "list", "--json", *state) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == [token["id"]]
    assert len(token["token"]) > 20


def test_training_says_what_it_would_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And learns nothing."""
    (tmp_path / "events.jsonl").write_text(
        json.dumps({"user_id": "u", "item_id": "i", "action": "click", "event_time_ms": 1_700_000_000_000}) + "\n"
    )
    checkpoints = tmp_path / "trainer" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "one").write_text("")
    words = ["train", str(tmp_path / "events.jsonl"), "--dry-run", "--state", str(tmp_path)]
    assert run(*words, "--replace") == 0
    assert "is set aside" in capsys.readouterr().out
    assert run(*words) == 0
    assert "refused without --replace" in capsys.readouterr().out
    assert [path.name for path in checkpoints.iterdir()] == ["one"]
