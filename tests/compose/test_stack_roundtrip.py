"""`headrace up`, `status`, `down` on the real stack leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compose.local_stack import is_stack_running, recorded_processes
from compose.processes import session_members
from features.config import load_endpoints
from tests.compose.small_stack import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "compose.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_up_status_down_leaves_no_process(tmp_path: Path) -> None:
    """Everything runs, everything is told, everything ends."""
    state, addresses = tmp_path / "state", tmp_path / "addresses.json"
    up = headrace("up", "--state", str(state), "--ports", "auto", "--endpoints", str(addresses))
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        report = json.loads(headrace("status", "--state", str(state), "--json").stdout)
        records = recorded_processes(state)
    finally:
        down = headrace("down", "--state", str(state))
    assert report["is_up"]
    assert set(report["jobs"].values()) == {"RUNNING"}
    assert load_endpoints(addresses).state == str(state)
    assert down.returncode == 0, down.stderr
    assert len(records) >= 8
    assert [session_members(record) for record in records] == [[]] * len(records)
    assert not is_stack_running(state)
