"""A directory of a version or of a checkpoint, killed at every system call that it is written with.

strace sends SIGKILL at the n-th call of a kind, so the kernel has done what came before and nothing after.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_stack import ROOT
from trainer.durable_files import remove_leftovers, write_directory

FILES = {"manifest.json": b"{}" * 50, "items.safetensors": b"x" * 70_000, "dense.safetensors": b"y" * 10}
_MOST = 20
_WRITE = (
    "import sys; from pathlib import Path; from trainer.durable_files import write_directory;"
    "from tests.faults.test_crash_points import FILES; write_directory(Path(sys.argv[1]) / 'new', FILES)"
)


def _killed_at(syscall: str, number: int, folder: Path) -> bool:
    """Write the directory; say whether it came to the n-th call of a kind, and was killed there."""
    inject = f"inject={syscall}:signal=KILL:when={number}"
    command = ["strace", "-f", "-o", os.devnull, "-e", f"trace={syscall}", "-e", inject]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, sys.executable, "-c", _WRITE, str(folder)], env=environment, check=False)
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done
    return done.returncode != 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("syscall", ["mkdir", "write", "fsync", "rename"])
def test_killed_at_any_call_a_directory_is_whole_or_not_there(syscall: str, tmp_path: Path) -> None:
    """What is left over goes with the next start, and writing again succeeds."""
    kills = 0
    for number in range(1, _MOST):
        folder = tmp_path / str(number)
        folder.mkdir()
        if not _killed_at(syscall, number, folder):
            break
        kills += 1
        written = {path.name: path.read_bytes() for path in (folder / "new").glob("*")}
        assert written in ({}, FILES)
        remove_leftovers(folder)
        assert {path.name for path in folder.iterdir()} <= {"new"}
        if not written:
            write_directory(folder / "new", FILES)
    assert kills >= {"mkdir": 1, "write": 3, "fsync": 5, "rename": 1}[syscall]
