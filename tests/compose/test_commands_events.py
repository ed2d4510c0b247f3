"""`headrace replay` and `backfill`: what is printed, and the exit code of everything that can be expected."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.compose.events_files import ROWS, write_csv, write_jsonl
from tests.compose.running_commands import ENVIRONMENT, command
from tests.compose.small_stack import ROOT
from tests.compose.test_cli import endpoints_file, run

CONFIG = ("--config", str(ROOT / "headrace.yaml"))


@pytest.fixture
def events_file(tmp_path: Path) -> Path:
    """A small file."""
    return write_jsonl(tmp_path / "e.jsonl", ROWS)


@pytest.mark.parametrize("verb", ["replay", "backfill"])
def test_a_dry_run_needs_no_stack(verb: str, events_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the counts, the times and the first events."""
    assert run(verb, str(events_file), "--dry-run", *CONFIG) == 0
    out = capsys.readouterr().out
    assert "2 rows make 2 events for headrace.events." in out
    assert "from 1970-01-01 00:00:01 UTC to 1970-01-01 00:00:02 UTC" in out
    assert '"user_id":"u2","item_id":"7","action":"rating","value":4.5' in out


@pytest.mark.parametrize("verb", ["replay", "backfill"])
def test_a_dry_run_as_json_carries_the_same(verb: str, events_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts."""
    assert run(verb, str(events_file), "--dry-run", "--json", *CONFIG) == 0
    [survey] = json.loads(capsys.readouterr().out)["files"]
    assert (survey["events"], survey["actions"]) == (2, {"rating": 1, "click": 1})
    assert (survey["oldest_time_ms"], len(survey["first_events"])) == (1000, 2)


@pytest.mark.parametrize("verb", ["replay", "backfill"])
def test_a_mapping_is_chosen_by_name(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shipped one here; an unknown one is exit code 2 with the nearest."""
    row = {"USER_ID": "u", "ITEM_ID": "i", "TIMESTAMP": 1_706_700_000, "EVENT_TYPE": "Watch"}
    path = str(write_csv(tmp_path / "e.csv", [row]))
    assert run(verb, path, "--mapping", "personalize", "--dry-run", *CONFIG) == 0
    assert '"action":"click"' in capsys.readouterr().out
    assert run(verb, path, "--mapping", "personalise", "--dry-run", *CONFIG) == 2
    assert "did you mean 'personalize'?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["replay", "backfill"])
def test_undeclared_actions_are_one_sentence(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, or left out on demand."""
    path = str(write_jsonl(tmp_path / "e.jsonl", [*ROWS, {**ROWS[0], "action": "hover"}]))
    assert run(verb, path, "--dry-run", *CONFIG) == 2
    err = capsys.readouterr().err
    assert ("hover (1)" in err, err.count("\n")) == (True, 1)
    assert run(verb, path, "--dry-run", "--skip-unknown", *CONFIG) == 0
    assert "1  left out: undeclared action hover" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["replay", "backfill"])
def test_a_missing_file_is_no_traceback(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one sentence."""
    endpoints = endpoints_file(tmp_path)
    assert run(verb, str(tmp_path / "none.jsonl"), "--endpoints", str(endpoints), *CONFIG) == 2
    err = capsys.readouterr().err
    assert ("cannot read" in err, err.count("\n")) == (True, 1)


@pytest.mark.parametrize("words", [["replay", "FILE"], ["backfill", "FILE"], ["dlq", "list"], ["dlq", "replay"]])
def test_a_missing_kafka_is_no_traceback(words: list[str], events_file: Path, tmp_path: Path) -> None:
    """Exit code 3, one sentence; in a process of its own, for the client library leaves sockets behind."""
    arguments = [str(events_file) if word == "FILE" else word for word in words]
    done = subprocess.run(
        command(*arguments, "--endpoints", endpoints_file(tmp_path)),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert "no Kafka" in done.stderr


@pytest.mark.parametrize("verb", ["replay", "backfill"])
def test_without_a_stack_the_command_says_how_to_start_one(
    verb: str, events_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3."""
    assert run(verb, str(events_file), "--state", str(tmp_path / "none"), *CONFIG) == 3
    assert "`headrace up`" in capsys.readouterr().err
