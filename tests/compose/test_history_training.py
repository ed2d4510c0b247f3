"""`headrace train --history` as a user runs it, and what ends it early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.compose.events_files import write_csv, write_jsonl, write_parquet
from tests.compose.running_commands import ENVIRONMENT, command
from tests.compose.test_cli import run
from tests.running_stack import ROOT, wait_for
from tests.trainer.evaluation.evaluation_parts import write_table
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.samples import label_key
from trainer.state_lock import lock_state

_START_MS = 1_700_000_000_000


def rows(size: int, first: int = 0) -> list[dict[str, Any]]:
    """Events of 7 users on 11 items, a minute apart, newest first."""
    return [
        {
            "user_id": f"u{index % 7}",
            "item_id": f"i{index * index % 11}",
            "action": "like" if index % 3 else "view",
            "event_time_ms": _START_MS + 60_000 * index,
        }
        for index in reversed(range(first, first + size))
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A small model."""
    path = tmp_path / "headrace.yaml"
    path.write_text(
        "actions: {like: {outcome: positive}, view: {outcome: neutral}}\n"
        "trainer: {learner: {embedding_dim: 8, retrieval_negatives: 16}}\n"
    )
    return path


def train(config: Path, files: Sequence[Path], *words: str) -> int:
    """Run the command into `state` beside the configuration."""
    named = ["train", "--history", *map(str, files), "--config", str(config)]
    return run(*named, "--state", str(config.with_name("state")), *words)


def newest(config: Path) -> Checkpoint:
    """Read what the command left."""
    checkpoint = CheckpointStore(config.with_name("state") / "trainer" / "checkpoints", keep=3).read_newest()
    assert checkpoint is not None
    return checkpoint


def test_files_of_any_kind_are_learnt_in_time_order(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files that overlap in ten rows: each event once, the newest last, whatever the order of rows and files."""
    files = [write_parquet(tmp_path / "b.parquet", rows(60, first=50)), write_csv(tmp_path / "a.csv", rows(60))]
    items = write_table(tmp_path / "items.parquet", {"item_id": ["i1", "x"], "categories": [["c"], ["c"]]})
    assert train(config, files, "--items", str(items), "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["samples"], summary["duplicates"], summary["items_without_event"]) == (120, 10, 1)
    assert summary["live_from_ms"] == summary["newest_time_ms"] == _START_MS + 60_000 * 109
    checkpoint = newest(config)
    assert checkpoint.state.progress.events == 110
    assert checkpoint.base["digest"] == summary["digest"]
    by_event = [name for name in checkpoint.state.names["items/item_ids"] if name != "i1"]
    assert by_event[:2] == ["i0", "i4"]  # As they came, oldest first.


def test_events_have_the_ids_of_a_backfill(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So an event that also comes through Kafka is known."""
    file = write_jsonl(tmp_path / "e.jsonl", rows(12))
    assert run("backfill", str(file), "--dry-run", "--json", "--config", str(config)) == 0
    [first, *_] = json.loads(capsys.readouterr().out)["files"][0]["first_events"]
    assert train(config, [file]) == 0
    keys = newest(config).state.arrays["learnt_once/keys"].tobytes()
    outcome = int(first["action"] == "like")
    assert label_key(first["event_id"], first["item_id"], "event", outcome) in keys


def test_used_state_is_refused_unless_it_may_be_set_aside(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 10; `--replace` keeps the old checkpoints under another name."""
    assert train(config, [write_jsonl(tmp_path / "e.jsonl", rows(20))]) == 0
    again = [write_jsonl(tmp_path / "f.jsonl", rows(30))]
    assert train(config, again) == 10
    assert "--replace sets that aside" in capsys.readouterr().err
    assert newest(config).state.progress.events == 20
    assert train(config, again, "--replace") == 0
    assert newest(config).state.progress.events == 30
    assert [path.name for path in (tmp_path / "state/trainer").glob("*.old-1")] == ["checkpoints.old-1"]


def test_running_trainer_is_refused(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, and what ends it."""
    with lock_state(tmp_path / "state" / "trainer"):
        assert train(config, [write_jsonl(tmp_path / "e.jsonl", rows(3))]) == 4
    assert "`headrace down`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "words", "code", "said"),
    [
        ({"user_id": ""}, [], 2, "row 4: user_id is missing"),
        ({"user_id": ""}, ["--skip-bad"], 0, ""),
        ({"action": "lik"}, [], 2, "uses 1 action that headrace.yaml does not declare: lik"),
        ({"event_time_ms": 4_000_000_000_000}, [], 0, ""),
        ({}, ["--items", "none.parquet"], 2, "none.parquet does not exist"),
        ({}, ["--mapping", "ga5"], 2, "did you mean 'ga4'"),
        ({}, ["e.jsonl"], 2, "holds the same as"),
    ],
)
def test_what_cannot_be_used_is_named(
    row: dict[str, Any],
    words: list[str],
    code: int,
    said: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """File, row, option, and the mend; nothing is left then. Times of the future are clamped as the streams clamp."""
    monkeypatch.chdir(tmp_path)
    file = write_jsonl(Path("e.jsonl"), [*rows(3), rows(1)[0] | row])
    assert train(config, [file], *words) == code
    assert said in capsys.readouterr().err
    assert (tmp_path / "state" / "trainer" / "checkpoints").exists() == (code == 0)


def test_no_files_is_one_sentence(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert run("train", "--config", str(config)) == 2
    assert "headrace train --history FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_ended_in_the_middle_leaves_the_old_state(number: int, code: int, config: Path, tmp_path: Path) -> None:
    """Ctrl-C and kill -9 while it learns: the old checkpoint, no file beside it, no lock."""
    assert train(config, [write_jsonl(tmp_path / "e.jsonl", rows(20))]) == 0
    folder = tmp_path / "state" / "trainer"
    before = sorted(folder.rglob("*"))
    long = write_jsonl(tmp_path / "long.jsonl", rows(6000))
    words = command("train", "--history", long, "--replace", "--config", config, "--state", tmp_path / "state")
    # A job in the background of a shell inherits that SIGINT is ignored.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, preexec_fn=heed, stderr=subprocess.PIPE) as process:
        wait_for(lambda: _maps_samples(process.pid, folder), "learning from the sorted file", 180)
        os.kill(process.pid, number)
        assert process.wait(60) == code
    assert sorted(folder.rglob("*")) == before
    assert newest(config).state.progress.events == 20
    lock_state(folder).close()


def _maps_samples(pid: int, folder: Path) -> bool:
    """Whether a process has a deleted file of this folder in memory: it reads samples in time order."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return False
    return any(str(folder) in line and line.endswith("(deleted)") for line in lines)
