"""Start and end processes by id, so that no process of someone else is ever hit and none of ours is left.

Every process leads a session of its own. A session's id cannot be given to a new process while one member lives, so
"all members of session P" is exact as long as P itself is not a younger process than the one recorded.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_LAUNCH = Path(__file__).with_name("launch.py")
_POLL_S = 0.05


@dataclass(frozen=True)
class ProcessRecord:
    """A process, told apart from a later one with the same id by its start time."""

    pid: int
    start_ticks: int
    """Clock ticks since boot, field 22 of `/proc/PID/stat`."""

    def to_json(self) -> dict[str, int]:
        """Return the record as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProcessRecord:
        """Read what `to_json` wrote."""
        return cls(int(data["pid"]), int(data["start_ticks"]))


def spawn(
    command: Sequence[str], log_path: Path, env: Mapping[str, str], cwd: Path
) -> tuple[subprocess.Popen[bytes], ProcessRecord]:
    """Start `command` as the leader of a new session, with its output appended to `log_path`.

    The calling thread must live as long as the process should: the kernel ends it with that thread.
    """
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    return process, record_of(process.pid)


def record_of(pid: int) -> ProcessRecord:
    """Return the record of a living process (or of a zombie that its parent has not reaped).

    Raises:
        ProcessLookupError: no such process.
    """
    fields = _stat_fields(pid)
    if fields is None:
        raise ProcessLookupError(pid)
    return ProcessRecord(pid, int(fields[19]))


def is_alive(record: ProcessRecord) -> bool:
    """Say whether this very process still runs."""
    fields = _stat_fields(record.pid)
    return fields is not None and int(fields[19]) == record.start_ticks and fields[0] not in "ZX"


def session_members(record: ProcessRecord) -> list[int]:
    """List the living processes of the session that `record` leads or led."""
    leader = _stat_fields(record.pid)
    if leader is not None and int(leader[19]) != record.start_ticks:
        return []  # The id was given away again, which the kernel does only once the old session is empty.
    members = []
    for entry in os.listdir("/proc"):
        fields = _stat_fields(int(entry)) if entry.isdigit() else None
        if fields is not None and int(fields[3]) == record.pid and fields[0] not in "ZX":
            members.append(int(entry))
    return members


def end_all(
    records: Iterable[ProcessRecord], timeout_s: float, reap: Callable[[], object] = lambda: None
) -> list[ProcessRecord]:
    """End the processes and all they started: SIGTERM to the leaders, after `timeout_s` SIGKILL to whoever is left.

    Args:
        records: Leaders of sessions.
        timeout_s: Time to end cleanly, for all together.
        reap: Called between two looks; a parent collects its dead children there.

    Returns:
        Those that had to be killed.
    """
    waiting = list(records)
    for record in waiting:
        if is_alive(record):
            _signal(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while (waiting := [r for r in waiting if is_alive(r)]) and time.monotonic() < deadline:
        reap()
        time.sleep(_POLL_S)
    killed = waiting
    return killed + [r for r in _kill_sessions(list(records), reap) if r not in killed]


def _kill_sessions(records: list[ProcessRecord], reap: Callable[[], object]) -> list[ProcessRecord]:
    """SIGKILL every member of the sessions until none is left; return the sessions that had some."""
    had_members: dict[int, ProcessRecord] = {}
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        members = [(r, pid) for r in records for pid in session_members(r)]
        if not members:
            reap()
            break
        for record, pid in members:
            had_members[record.pid] = record
            _signal(pid, signal.SIGKILL)
        reap()
        time.sleep(_POLL_S)
    return list(had_members.values())


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _stat_fields(pid: int) -> list[str] | None:
    """Return `/proc/PID/stat` behind the command's name: state, parent, group, session, …, start time at [19]."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
