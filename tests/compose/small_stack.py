"""Parts that are tiny Python programs, and the layout they run in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from compose.config import StackConfig, load_headrace_config
from compose.part import Part, StackLayout, said_ready

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0
"""Longest wait for something that takes milliseconds on a quiet machine."""

SERVE = "import signal; print('READY x', flush=True); signal.pause()"
SERVE_WITH_CHILD = (
    "import subprocess, sys, signal; child = subprocess.Popen(['sleep', '600'], stdin=subprocess.DEVNULL);"
    "print(child.pid, flush=True); print('READY x', flush=True); signal.pause()"
)
IGNORE_TERM = "import signal; signal.signal(15, signal.SIG_IGN); print('READY x', flush=True); signal.pause()"


def program(code: str) -> list[str]:
    """Return the command of a Python program that starts quickly."""
    return [sys.executable, "-I", "-S", "-c", code]


def server(name: str, code: str = SERVE, needs: Sequence[str] = ()) -> Part:
    """Return a part that says READY and stays."""
    return Part(name, lambda _layout: program(code), probe=said_ready, needs=tuple(needs))


def layout_in(folder: Path, **stack: float) -> StackLayout:
    """Return a layout with quick restarts."""
    config = load_headrace_config(ROOT / "headrace.yaml")
    settings = StackConfig(restart_backoff_s=0.01, stop_timeout_s=stack.pop("stop_timeout_s", 5.0), **stack)
    layout = StackLayout(ROOT / "headrace.yaml", folder, {}, config.app, settings)
    layout.log_dir.mkdir(parents=True, exist_ok=True)
    return layout
