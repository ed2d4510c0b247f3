"""`headrace up`, as the terminal shows it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from compose.config import load_headrace_config
from compose.daemon import run_stack, start_daemon
from compose.errors import StackError, StackRunningError
from compose.local_stack import is_stack_running
from compose.ports import PortMode, choose_ports
from features.config import Endpoints, load_endpoints
from streams.job_start import ChangedJobs


def bring_up(
    config_path: Path,
    state_dir: Path,
    ports: PortMode,
    endpoints_to: Path | None,
    foreground: bool,
    changed_jobs: ChangedJobs,
    as_json: bool = False,
) -> int:
    """Start a stack, in this process or behind it; return the exit code.

    Raises:
        ConfigError: `headrace.yaml` cannot be used.
        StackError: the stack did not come up.
    """
    config = load_headrace_config(config_path)
    if endpoints_to is not None:
        _check_writable(endpoints_to)
    if is_stack_running(state_dir):
        raise StackRunningError(f"a stack already runs in {state_dir}; `headrace down --state {state_dir}` ends it")
    if ports == "default":
        choose_ports(ports, config.stack.ports, state_dir / "ports.json")
    console = Console(highlight=False, stderr=as_json)
    started_s = time.monotonic()

    def say_up(stack_endpoints: Endpoints) -> None:
        if endpoints_to is not None:
            endpoints_to.write_text(stack_endpoints.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if as_json:
            print(stack_endpoints.model_dump_json(indent=2), flush=True)
            return
        console.print(f"up after {time.monotonic() - started_s:.0f} s; logs in {state_dir / 'logs'}")
        for name, address in stack_endpoints.addresses().items():
            console.print(f"  {name:16} {address}")

    show = _Progress(console, started_s).show
    if foreground:
        return run_stack(config_path, state_dir, ports, changed_jobs, lambda stack: say_up(stack.endpoints), show)
    start_daemon(config_path, state_dir, ports, changed_jobs, show)
    say_up(load_endpoints(state_dir / "endpoints.json"))
    return 0


def _check_writable(path: Path) -> None:
    """Refuse a file that cannot be written before anything is started.

    Raises:
        StackError: it cannot.
    """
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise StackError(f"--endpoints {path} cannot be written; name a file in a folder that exists and is yours")


class _Progress:
    """Says each change of a part once."""

    def __init__(self, console: Console, started_s: float) -> None:
        self._console = console
        self._started_s = started_s
        self._said: dict[str, str] = {}

    def show(self, parts: Sequence[Mapping[str, Any]]) -> None:
        for part in parts:
            name, state = part["name"], part["state"]
            if self._said.get(name) != state and state in ("ready", "done", "restarting"):
                self._console.print(f"  {time.monotonic() - self._started_s:5.1f} s  {name} {state}")
            self._said[name] = state
