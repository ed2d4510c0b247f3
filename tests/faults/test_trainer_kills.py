"""Three seeds of `trainer_kills.py`; `python tests/faults/trainer_kills.py` runs fifty."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_stack import ROOT

SCRIPT = ROOT / "tests" / "faults" / "trainer_kills.py"


@pytest.mark.timeout(300)
def test_killed_trainers_end_where_one_run_does(tmp_path: Path) -> None:
    """Bit for bit, every sample once; in a process of its own, as it forks."""
    options = ["--seeds", "1..3", "--samples", "500", "--kills", "5"]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 equal" in done.stdout
