"""Evaluation scores what design 4.3 says, and the trainer's own code does it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.config import AppConfig
from tests.trainer.conftest import START_MS
from trainer.config import LearnerConfig
from trainer.learner import Learner
from trainer.progressive_eval import evaluate, main, read_items, read_samples


def _write(path: Path, events: list[tuple[str, str, str]]) -> Path:
    table = pa.table(
        {
            "user_id": [user for user, _, _ in events],
            "item_id": [item for _, item, _ in events],
            "action": [action for _, _, action in events],
            "event_time_ms": [START_MS + 1000 * i for i in range(len(events))],
        }
    )
    pq.write_table(table, path)
    return path


def _organic(app: AppConfig, path: Path) -> dict[str, float]:
    learner = Learner(app, LearnerConfig(embedding_dim=4), lists_only_seen=True)
    result: dict[str, float] = evaluate(learner, read_samples(path, app, "like"), {})["organic"]
    return result


def test_only_known_users_and_items_new_to_them_are_scored(app: AppConfig, tmp_path: Path) -> None:
    """Cold users are skipped, repeats are not targets, an item nobody knew is a miss, a known one can be hit."""
    events = [("a", "x", "like"), ("a", "x", "like"), ("a", "y", "like"), ("b", "x", "view"), ("b", "y", "like")]
    organic = _organic(app, _write(tmp_path / "events.parquet", events))
    assert (organic["events"], organic["skipped_cold"], organic["hr@10"]) == (2, 1, 0.5)


def test_files_are_read_in_time_order(app: AppConfig, tmp_path: Path) -> None:
    """The order of the file does not matter."""
    path = _write(tmp_path / "events.parquet", [("a", "x", "like"), ("b", "y", "like")])
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0]), path)
    assert [sample.user_id for sample in read_samples(path, app, "like")] == ["a", "b"]


def test_items_bring_categories(tmp_path: Path) -> None:
    """The items file is optional in everything but the id."""
    pq.write_table(pa.table({"item_id": ["x"], "categories": [["drama", "war"]]}), tmp_path / "items.parquet")
    assert read_items(tmp_path / "items.parquet")["x"].categories == ("drama", "war")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read"), ({"user_id": ["a"]}, "lacks the columns"), ("action", "undeclared")]
)
def test_bad_files_end_in_one_sentence(
    content: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, column or action: exit code 2, what is wrong and how to mend it."""
    config = tmp_path / "headrace.yaml"
    config.write_text("actions: {like: {outcome: positive}}\n")
    path = tmp_path / "events.parquet"
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    elif content:
        _write(path, [("a", "x", "hug")])
    assert main([str(path), "--config", str(config)]) == 2
    assert said in capsys.readouterr().err


def test_command_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes to stdout is the metrics and nothing else."""
    config = tmp_path / "headrace.yaml"
    config.write_text("actions: {like: {outcome: positive}}\n")
    path = _write(tmp_path / "events.parquet", [("a", "x", "like"), ("b", "x", "like")])
    assert main([str(path), "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 2
