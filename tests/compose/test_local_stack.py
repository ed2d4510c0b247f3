"""One stack per state directory; what a killed one leaves is ended by the next."""

from __future__ import annotations

import itertools
import json
import os
import stat
from pathlib import Path

import pytest

from compose.daemon import stop_daemon
from compose.errors import StackError, StackNotRunningError, StackRunningError
from compose.local_stack import LocalStack, is_stack_running, recorded_processes
from compose.processes import end_all, is_alive, spawn
from features.config import load_endpoints
from tests.compose.small_stack import IGNORE_TERM, ROOT, SERVE, WAIT_S, program, server
from tests.running_stack import wait_for

CONFIG = ROOT / "headrace.yaml"


def small_stack(folder: Path) -> LocalStack:
    """Return a stack of one tiny part beside Redis."""
    return LocalStack(CONFIG, folder, parts=["redis"], extra_parts=[server("extra", needs=("redis",))])


def test_stack_writes_what_others_look_up(tmp_path: Path) -> None:
    """Addresses, a token that only this user reads, and a status with every part."""
    with small_stack(tmp_path) as stack:
        endpoints = stack.start()
        assert load_endpoints(tmp_path / "endpoints.json") == endpoints == stack.endpoints
        assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600
        status = json.loads((tmp_path / "status.json").read_text())
    assert status["supervisor"]["pid"] == os.getpid()
    assert [(part["name"], part["state"]) for part in status["parts"]] == [("redis", "ready"), ("extra", "ready")]


def test_progress_tells_every_change(tmp_path: Path) -> None:
    """The last word is that all parts are up."""
    told: list[list[str]] = []
    with small_stack(tmp_path) as stack:
        stack.start(lambda statuses: told.append([status.state.value for status in statuses]))
    assert told[-1] == ["ready", "ready"]
    assert all(before != after for before, after in itertools.pairwise(told))


def test_stopped_stack_leaves_nothing(tmp_path: Path) -> None:
    """No process, no lock; a second stop is harmless."""
    stack = small_stack(tmp_path)
    stack.start()
    records = recorded_processes(tmp_path)
    stack.stop()
    stack.stop()
    assert len(records) == 2
    assert not any(is_alive(record) for record in records)
    assert not is_stack_running(tmp_path)


def test_state_directory_belongs_to_one_stack(tmp_path: Path) -> None:
    """The second is told who is first, and the first does not notice."""
    with small_stack(tmp_path) as first:
        first.start()
        with pytest.raises(StackRunningError, match="headrace down --state"):
            small_stack(tmp_path).start()
        assert is_alive(first.statuses[0].record or pytest.fail("no record"))


def test_leftovers_of_a_killed_supervisor_are_ended(tmp_path: Path) -> None:
    """A start first ends what its predecessor could not."""
    process, left = spawn(program(IGNORE_TERM), tmp_path / "log", os.environ, ROOT)
    wait_for(lambda: "READY" in (tmp_path / "log").read_text(), "READY", WAIT_S, pause_s=0.01)
    part = {"name": "old", "state": "ready", "process": left.to_json(), "restarts": 0}
    (tmp_path / "status.json").write_text(json.dumps({"parts": [part]}))
    try:
        with small_stack(tmp_path) as stack:
            stack.start()
            assert not is_alive(left)
    finally:
        end_all([left], 0.0, process.poll)
        process.wait()


def test_down_ends_leftovers_too(tmp_path: Path) -> None:
    """`down` works where the supervisor itself was killed."""
    process, left = spawn(program(SERVE), tmp_path / "log", os.environ, ROOT)
    part = {"name": "old", "state": "ready", "process": left.to_json(), "restarts": 0}
    (tmp_path / "status.json").write_text(json.dumps({"parts": [part]}))
    assert "ended 1 processes" in stop_daemon(tmp_path)
    process.wait()
    assert not is_alive(left)


def test_down_without_a_stack_says_so(tmp_path: Path) -> None:
    """Nothing to end is an error of its own."""
    with pytest.raises(StackNotRunningError, match="no stack runs in"):
        stop_daemon(tmp_path)


def test_unknown_part_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """A misspelt part starts nothing."""
    with pytest.raises(StackError, match=r"unknown part 'kafak' \(known: .*kafka"):
        LocalStack(CONFIG, tmp_path, parts=["kafak"]).start()
    assert not is_stack_running(tmp_path)
