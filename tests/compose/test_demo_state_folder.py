"""Laws of the demo's state folder."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from compose.demo.state_folder import prepare_state_folder
from compose.errors import StackRunningError


def test_a_new_folder_is_used_as_it_is(tmp_path: Path) -> None:
    """It is made where it is missing."""
    assert prepare_state_folder(tmp_path / "state") == tmp_path / "state"


def test_a_folder_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    """No run learns from the one before."""
    folder = prepare_state_folder(tmp_path / "state")
    (folder / "kafka").mkdir()
    assert prepare_state_folder(tmp_path / "state") == folder
    assert not (folder / "kafka").exists()


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    """The demo takes a folder inside it, and empties only that."""
    (tmp_path / "precious").touch()
    for _ in range(2):
        assert prepare_state_folder(tmp_path) == tmp_path / "demo"
    assert (tmp_path / "precious").exists()


def test_a_running_stack_is_not_touched(tmp_path: Path) -> None:
    """Whoever holds the lock keeps the folder."""
    folder = prepare_state_folder(tmp_path / "state")
    with (folder / "supervisor.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StackRunningError, match="already runs"):
            prepare_state_folder(tmp_path / "state")
