"""The command line as a user runs it, and what a topic holds afterwards."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from compose.topic_scan import scan_topic
from tests.running_stack import ROOT, RunningStack

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "compose" / "client")}
"""The client of this checkout, also where another one is installed."""


def command(*arguments: str | Path) -> list[str]:
    """The command line of `headrace`."""
    return [sys.executable, "-m", "compose.cli", *map(str, arguments)]


def headrace(stack: RunningStack, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command on this stack until it ends."""
    words = command(*arguments, "--endpoints", stack.local.endpoints_path)
    return subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)


def headrace_json(stack: RunningStack, *arguments: str | Path) -> Any:
    """Run a command that must succeed, and return what it prints as JSON."""
    done = headrace(stack, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def held(stack: RunningStack, topic: str) -> list[dict[str, Any]]:
    """Every JSON record that a topic holds now: tombstones, and the garbage of other tests, are left out."""
    return held_on(stack.endpoints.kafka, topic)


def held_on(kafka: str, topic: str) -> list[dict[str, Any]]:
    """Every JSON record that a topic of this broker holds now; as `held`."""
    values = [record.value for record in scan_topic(kafka, topic) if record.value]
    return [read for read in map(_decoded, values) if isinstance(read, dict)]


def sent_as(letter: dict[str, Any]) -> str:
    """The text of a dead letter's record."""
    return base64.b64decode(letter["raw"]).decode(errors="replace")


def _decoded(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return None
