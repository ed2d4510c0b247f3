"""Laws of the stack under a demo."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from compose.demo.stacks import StartView, prepare_folder, restarts_in
from compose.errors import StackRunningError
from tests.compose.demo_parts import FakeClock


def test_the_demo_empties_only_its_own_folder(tmp_path: Path) -> None:
    """No run learns from the one before, and nothing of the user's is lost."""
    (tmp_path / "precious").touch()
    folder = prepare_folder(tmp_path)
    (folder / "kafka").mkdir()
    assert prepare_folder(tmp_path) == folder
    assert list(folder.iterdir()) == []
    assert (tmp_path / "precious").exists()


def test_a_running_stack_is_not_touched(tmp_path: Path) -> None:
    """Whoever holds the lock keeps the folder."""
    folder = prepare_folder(tmp_path)
    with (folder / "supervisor.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StackRunningError, match="already runs"):
            prepare_folder(tmp_path)
    assert (folder / "supervisor.lock").exists()


def test_every_part_is_announced_once() -> None:
    """A part that is up stays silent when another comes up."""
    lines: list[str] = []
    clock = FakeClock()
    view = StartView(lines.append, clock)
    view.show([{"name": "kafka", "state": "starting"}, {"name": "topics", "state": "waiting"}])
    clock.now_s = 3.0
    view.show([{"name": "kafka", "state": "ready"}, {"name": "topics", "state": "waiting"}])
    view.show([{"name": "kafka", "state": "ready"}, {"name": "topics", "state": "done"}])
    assert lines == ["    3.0 s  kafka ready  (1/2)", "    3.0 s  topics done  (2/2)"]


def test_restarts_are_read_from_the_supervisors_file(tmp_path: Path) -> None:
    """Without a file nothing was restarted."""
    assert restarts_in(tmp_path) == {}
    status = {"parts": [{"name": "server", "state": "ready", "process": None, "restarts": 2}]}
    (tmp_path / "status.json").write_text(json.dumps(status), encoding="utf-8")
    assert restarts_in(tmp_path) == {"server": 2}
