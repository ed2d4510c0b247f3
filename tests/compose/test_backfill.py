"""History reaches Kafka once and whole, whatever kills the backfill; the stream counts it once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from compose.backfill_sender import SAVE_ROWS, WINDOW_ROWS
from features.config import load_app_config
from headrace_client import HISTORY_TOPIC
from tests.compose.events_files import write_jsonl, write_parquet
from tests.compose.running_commands import ENVIRONMENT, command, headrace, headrace_json, held
from tests.running_stack import ROOT, RunningStack, wait_for
from tests.streams.event_maker import event, plain_counters, row_counters, unique
from tests.streams.topic_io import TopicIo

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
DAY_MS = 86_400_000


def history(mark: str, count: int) -> list[dict[str, Any]]:
    """Rows without ids, old ones, every hundredth like the one before it."""
    return [
        {
            "user_id": f"{mark}-{row % 97}",
            "item_id": f"item-{row % 13}",
            "action": "click",
            "event_time_ms": 1_500_000_000_000 + 1000 * (row - (row % 100 == 99)),
        }
        for row in range(count)
    ]


def held_of(stack: RunningStack, mark: str) -> list[dict[str, Any]]:
    """The events of one test in the backfill topic."""
    return [one for one in held(stack, HISTORY_TOPIC) if one["user_id"].startswith(mark)]


def progress_rows(stack: RunningStack) -> list[int]:
    """What the progress files say."""
    folder = Path(stack.endpoints.state) / "backfill"
    return [json.loads(path.read_text())["acknowledged_rows"] for path in folder.glob("*.json")]


def kill_on_the_way(stack: RunningStack, path: Path, after_rows: int) -> int:
    """Start a backfill, kill -9 it once its progress file says so many rows, return how many it says then."""
    before = Counter(progress_rows(stack))
    words = command("backfill", path, "--endpoints", stack.local.endpoints_path)
    process = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: [r for r in (Counter(progress_rows(stack)) - before) if r > after_rows], "progress", 120, 0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    return max(Counter(progress_rows(stack)) - before)


def test_a_backfill_killed_again_and_again_loses_nothing_and_repeats_little(
    kafka_only: RunningStack, tmp_path: Path
) -> None:
    """After kill -9 it goes on behind the last acknowledged row, with the same ids."""
    mark, count, kills = unique("kill"), 60_000, 2
    path = write_parquet(tmp_path / "history.parquet", history(mark, count))
    rows = [kill_on_the_way(kafka_only, path, after_rows=10_000 * (kill + 1)) for kill in range(kills)]
    [outcome] = headrace_json(kafka_only, "backfill", path)["files"]
    assert 0 < rows[0] < rows[-1] == outcome["resumed_after_row"] < outcome["rows"] == outcome["events"] == count
    arrived = held_of(kafka_only, mark)
    assert len({one["event_id"] for one in arrived}) == count
    assert len(arrived) <= count + kills * (WINDOW_ROWS + SAVE_ROWS)
    wanted = {(row["user_id"], row["item_id"], row["event_time_ms"]) for row in history(mark, count)}
    assert {(one["user_id"], one["item_id"], one["event_time_ms"]) for one in arrived} == wanted


def test_a_finished_file_is_not_sent_again(kafka_only: RunningStack, tmp_path: Path) -> None:
    """Under whatever name, unless asked to; `--again` sends the same ids."""
    mark = unique("done")
    path = write_jsonl(tmp_path / "e.jsonl", history(mark, 300))
    headrace_json(kafka_only, "backfill", path)
    again = headrace_json(kafka_only, "backfill", path.rename(tmp_path / "other.jsonl"))
    assert (again["sent"], again["files"][0]["was_complete"], again["files"][0]["events"]) == (0, True, 300)
    assert headrace_json(kafka_only, "backfill", tmp_path / "other.jsonl", "--again")["sent"] == 300
    arrived = held_of(kafka_only, mark)
    assert (len(arrived), len({one["event_id"] for one in arrived})) == (600, 300)


def test_nothing_is_sent_before_every_file_is_checked(kafka_only: RunningStack, tmp_path: Path) -> None:
    """One bad row in the second file keeps the first back; exit code 2, one sentence."""
    mark = unique("check")
    good = write_jsonl(tmp_path / "good.jsonl", history(mark, 10))
    bad = write_jsonl(tmp_path / "bad.jsonl", [{**history(mark, 1)[0], "value": "much"}])
    done = headrace(kafka_only, "backfill", good, bad)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "row 1: value must be a number" in done.stderr
    assert held_of(kafka_only, mark) == []


def test_a_file_named_twice_is_refused(kafka_only: RunningStack, tmp_path: Path) -> None:
    """Also as a copy."""
    path = write_jsonl(tmp_path / "e.jsonl", history(unique("twice"), 2))
    (tmp_path / "copy.jsonl").write_bytes(path.read_bytes())
    done = headrace(kafka_only, "backfill", path, tmp_path / "copy.jsonl")
    assert done.returncode == 1
    assert "copy.jsonl holds the same as" in done.stderr


def test_ctrl_c_keeps_what_arrived(kafka_only: RunningStack, tmp_path: Path) -> None:
    """Exit code 130, and the next run goes on."""
    mark = unique("stop")
    path = write_jsonl(tmp_path / "e.jsonl", history(mark, 60_000))
    before = len(progress_rows(kafka_only))
    words = command("backfill", path, "--endpoints", kafka_only.local.endpoints_path)
    # A job in the background of a shell inherits that SIGINT is ignored.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, preexec_fn=heed) as process:
        wait_for(lambda: len(progress_rows(kafka_only)) > before, "the first progress", 120, 0.01)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    [outcome] = headrace_json(kafka_only, "backfill", path)["files"]
    assert 0 < outcome["resumed_after_row"] < outcome["events"] == 60_000
    assert len(held_of(kafka_only, mark)) == 60_000  # Nothing was on its way: nothing came twice.


def test_history_counts_once_in_the_features(stack: RunningStack, tmp_path: Path) -> None:
    """A killed and repeated backfill gives the counters of the file, event by event."""
    app = load_app_config(stack.config_path)
    user_id = unique("user")
    io = TopicIo(stack.endpoints, "headrace.features.user_activity.v1")
    rows = [event(user_id, f"i{n % 7}", ["view", "click", "like"][n % 3], n * DAY_MS // 40) for n in range(2000)]
    path = write_jsonl(tmp_path / "e.jsonl", [{k: v for k, v in row.items() if k != "event_id"} for row in rows])
    headrace_json(stack, "backfill", path)
    headrace_json(stack, "backfill", path, "--again")
    expected = plain_counters(app, rows)

    def is_equal(found: list[dict[str, Any]]) -> bool:
        counters = row_counters(found[-1]["counters"]) if found else {}
        return counters.keys() == expected.keys() and all(
            counters[key] == pytest.approx(expected[key], rel=1e-9) for key in expected
        )

    io.follow(is_equal, user_id)
    io.close()
