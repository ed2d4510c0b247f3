"""Processes are ended by id: all of ours, none of anybody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compose.processes import ProcessRecord, end_all, is_alive, record_of, session_members, spawn
from tests.compose.small_stack import IGNORE_TERM, ROOT, SERVE, SERVE_WITH_CHILD, WAIT_S, program
from tests.running_stack import wait_for

Started = tuple["subprocess.Popen[bytes]", ProcessRecord]


class Launcher:
    """Starts programs and knows their logs."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.started: list[Started] = []

    def start(self, code: str) -> Started:
        """Start a program and wait for its READY."""
        started = spawn(program(code), self.log, os.environ, ROOT)
        self.started.append(started)
        wait_for(lambda: "READY" in self.log.read_text(), "READY", WAIT_S, pause_s=0.01)
        return started


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """A launcher whose programs are ended after the test."""
    launcher = Launcher(tmp_path)
    yield launcher
    for process, record in launcher.started:
        end_all([record], 0.0, process.poll)


def test_ended_process_is_gone(launcher: Launcher) -> None:
    """SIGTERM ends a process that obeys, and nothing has to be killed."""
    process, record = launcher.start(SERVE)
    assert is_alive(record)
    assert end_all([record], WAIT_S, process.poll) == []
    assert not is_alive(record)
    assert process.returncode == -signal.SIGTERM


def test_deaf_process_is_killed(launcher: Launcher) -> None:
    """SIGKILL follows where SIGTERM was ignored."""
    process, record = launcher.start(IGNORE_TERM)
    assert end_all([record], 0.1, process.poll) == [record]
    assert process.returncode == -signal.SIGKILL


def test_children_end_with_their_part(launcher: Launcher) -> None:
    """What a part spawned does not outlive it."""
    process, record = launcher.start(SERVE_WITH_CHILD)
    child = record_of(int(launcher.log.read_text().split()[0]))
    end_all([record], WAIT_S, process.poll)
    assert not is_alive(child)


def test_orphans_of_a_dead_leader_are_found(launcher: Launcher) -> None:
    """A session can be emptied after its leader was killed."""
    process, record = launcher.start(SERVE_WITH_CHILD)
    child_pid = int(launcher.log.read_text().split()[0])
    process.kill()
    process.wait()
    assert session_members(record) == [child_pid]
    end_all([record], 0.0)
    assert session_members(record) == []


def test_reused_id_is_never_touched(launcher: Launcher) -> None:
    """A record with another start time means another process, which lives on."""
    _, record = launcher.start(SERVE)
    older = replace(record, start_ticks=record.start_ticks - 1)
    assert not is_alive(older)
    assert end_all([older], 0.0) == []
    assert is_alive(record)


def test_record_survives_json() -> None:
    """What is written to the status file names the same process again."""
    record = record_of(os.getpid())
    assert ProcessRecord.from_json(record.to_json()) == record


def test_unknown_pid_has_no_record() -> None:
    """A process that does not exist cannot be recorded."""
    with pytest.raises(ProcessLookupError):
        record_of(2**22 + 1)


def test_part_ends_with_its_supervisor(tmp_path: Path) -> None:
    """The kernel ends a part when the process that started it is killed."""
    log = tmp_path / "log"
    code = (
        "import os, pathlib, signal; from compose.processes import spawn;"
        f"spawn({program(SERVE)!r}, pathlib.Path({str(log)!r}), os.environ, pathlib.Path('.')); signal.pause()"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for(lambda: log.exists() and "READY" in log.read_text(), "READY", WAIT_S, pause_s=0.01)
    part = record_of(int(Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()[0]))
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not is_alive(part), "the part's end", WAIT_S, pause_s=0.01)
