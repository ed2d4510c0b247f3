"""The process behind `headrace up`: holds a `LocalStack` until SIGTERM."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compose.errors import PartFailedError, StackError, StackNotRunningError
from compose.local_stack import (
    LocalStack,
    end_leftovers,
    is_stack_running,
    read_status,
    recorded_processes,
)
from compose.part import PROJECT_ROOT, LogTail, base_environment
from compose.ports import PortMode
from compose.processes import ProcessRecord, end_all, is_alive
from features.config import ConfigError
from streams.job_start import CHANGED_JOBS, ChangedJobs

_LOOK_S = 0.1
_STOP_TIMEOUT_S = 45.0
_INTERRUPTED = 130
_READY = "READY stack"

ShowParts = Callable[[Sequence[Mapping[str, Any]]], None]
"""Takes `name` and `state` (at least) of every part."""


def start_daemon(
    config_path: Path, state_dir: Path, ports: PortMode, changed_jobs: ChangedJobs, show: ShowParts
) -> None:
    """Start a stack that outlives this process, and wait until it is up.

    Args:
        config_path: `headrace.yaml`.
        state_dir: The stack's state directory.
        ports: `default` or `auto`.
        changed_jobs: See `streams.job_start`.
        show: Called whenever a part changed.

    Raises:
        StackError: it did not come up; nothing of it is left then.
    """
    log_path = state_dir / "logs" / "supervisor.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log = LogTail(log_path)
    command = [sys.executable, "-m", "compose.daemon", "--config", str(config_path), "--state", str(state_dir)]
    with log_path.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--ports", ports, "--changed-jobs", changed_jobs],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=PROJECT_ROOT,
            env=base_environment(),
            start_new_session=True,
        )
    try:
        _follow_start(process, state_dir, log, show)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _follow_start(process: subprocess.Popen[bytes], state_dir: Path, log: LogTail, show: ShowParts) -> None:
    """Show progress until the daemon says that the stack is up, or ends."""
    shown: object = None
    while _READY not in log.text().splitlines():
        status = read_status(state_dir)
        if status.get("supervisor", {}).get("pid") == process.pid and status["parts"] != shown:
            shown = status["parts"]
            show(status["parts"])
        if process.poll() is not None:
            error = PartFailedError(log.last_line().removeprefix("headrace: "))
            error.exit_code = process.returncode
            raise error
        time.sleep(_LOOK_S)


def stop_daemon(state_dir: Path) -> str:
    """End the stack in `state_dir`, also what a killed supervisor left; return a sentence that says what was done.

    Raises:
        StackNotRunningError: there is nothing to end.
        StackError: the supervisor did not end.
    """
    leftovers = [record for record in recorded_processes(state_dir) if is_alive(record)]
    if is_stack_running(state_dir):
        supervisor = ProcessRecord.from_json(_wait_for_supervisor(state_dir))
        end_all([supervisor], _STOP_TIMEOUT_S)
        end_leftovers(state_dir)
        return f"the stack in {state_dir} has ended"
    if not leftovers:
        raise StackNotRunningError(f"no stack runs in {state_dir}; `headrace up` starts one")
    end_all(leftovers, timeout_s=10.0)
    return f"ended {len(leftovers)} processes that a killed supervisor had left in {state_dir}"


def what_would_end(state_dir: Path) -> list[tuple[str, int]]:
    """Return name and process id of everything that `stop_daemon` would end.

    Raises:
        StackNotRunningError: there is nothing to end.
    """
    status = read_status(state_dir)
    parts = [(part["name"], part["process"]) for part in status.get("parts", [])]
    supervisor = [("supervisor", status.get("supervisor"))] if is_stack_running(state_dir) else []
    found = [*supervisor, *parts]
    records = [(name, ProcessRecord.from_json(process)) for name, process in found if process]
    alive = [(name, record.pid) for name, record in records if is_alive(record)]
    if not alive:
        raise StackNotRunningError(f"no stack runs in {state_dir}; `headrace up` starts one")
    return alive


def _wait_for_supervisor(state_dir: Path) -> dict[str, Any]:
    """Return the supervisor's record; a stack that has just been started may not have written it yet."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        record: dict[str, Any] | None = read_status(state_dir).get("supervisor")
        if record is not None and is_alive(ProcessRecord.from_json(record)):
            return record
        time.sleep(_LOOK_S)
    raise StackError(f"{state_dir} is locked by a process that wrote no status; end it by hand")


def run_stack(
    config_path: Path,
    state_dir: Path,
    ports: PortMode,
    changed_jobs: ChangedJobs,
    on_up: Callable[[LocalStack], None],
    show: ShowParts,
) -> int:
    """Run a stack in this process until SIGTERM or Ctrl-C; return the exit code."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _interrupt(stopping))
    try:
        with LocalStack(config_path, state_dir, ports, changed_jobs=changed_jobs) as stack:
            stack.start(lambda statuses: show([{"name": s.name, "state": s.state.value} for s in statuses]))
            on_up(stack)
            while not stopping.wait(1.0):
                stack.raise_if_failed()
    except KeyboardInterrupt:
        return 0 if stopping.is_set() else _INTERRUPTED
    except (StackError, ConfigError) as error:
        print(f"headrace: {error}", file=sys.stderr, flush=True)
        return error.exit_code if isinstance(error, StackError) else 2
    return 0


def _interrupt(stopping: threading.Event) -> None:
    """Leave whatever waits, once: a second signal must not cut the clean-up short."""
    if not stopping.is_set():
        stopping.set()
        raise KeyboardInterrupt


def main() -> int:
    """Run the supervisor of `headrace up`."""
    parser = argparse.ArgumentParser(prog="python -m compose.daemon", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--ports", choices=("auto", "default"), required=True)
    parser.add_argument("--changed-jobs", choices=CHANGED_JOBS, required=True)
    options = parser.parse_args()
    os.umask(0o077)
    return run_stack(
        options.config, options.state, options.ports, options.changed_jobs, _say_ready, show=lambda _parts: None
    )


def _say_ready(_stack: LocalStack) -> None:
    print(_READY, flush=True)


if __name__ == "__main__":
    sys.exit(main())
