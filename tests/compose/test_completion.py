"""Shells complete the verbs, options and values of `headrace`, and need not wait for heavy imports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.running_commands import ENVIRONMENT
from tests.running_stack import ROOT

HEAVY = ("kafka", "grpc", "numpy", "pandas", "pyarrow", "torch", "feast", "psutil", "compose.config", "serving.config")


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment with a `headrace` of this checkout on PATH, for shells."""
    program = tmp_path / "bin" / "headrace"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.argv[0] = \'headrace\'; '
                       'from compose.cli import main; main()" "$@"\n')  # fmt: skip
    program.chmod(0o755)
    path = os.pathsep.join([str(ROOT), ENVIRONMENT["PYTHONPATH"]])
    return ENVIRONMENT | {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": path}


def in_shell(shell: str, script: str, environment: dict[str, str]) -> list[str]:
    """Run a script of a shell and return the words it prints."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    flags = {"bash": ["--noprofile", "--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "cursor", "wanted"),
    [
        ("headrace dl", 1, ["dlq"]),
        ("headrace dlq re", 2, ["replay"]),
        ("headrace up --ports ", 3, ["default", "auto"]),
        ("headrace up --chan", 2, ["--changed-jobs"]),
    ],
)
def test_bash_completes(words: str, cursor: int, wanted: list[str], on_path: dict[str, str]) -> None:
    """By the function that the printed script defines, in a real bash."""
    array = " ".join(f'"{word}"' for word in words.split(" "))
    script = (
        f"source <(headrace completion bash); COMP_WORDS=({array}); COMP_CWORD={cursor};"
        ' _headrace_completion headrace; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert in_shell("bash", script, on_path) == wanted


def test_zsh_completes(on_path: dict[str, str]) -> None:
    """The script loads behind `compinit`, and what it asks for is answered."""
    script = "autoload -U compinit; compinit -u -D; source <(headrace completion zsh); whence -w _headrace_completion"
    assert in_shell("zsh", script, on_path)[-1] == "function"


def test_fish_completes(on_path: dict[str, str]) -> None:
    """By fish's own `complete -C`."""
    assert "dlq" in in_shell("fish", "headrace completion fish | source; complete -C 'headrace dl'", on_path)


@pytest.mark.parametrize(
    ("shell", "question"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "headrace dl"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "headrace dl", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_what_other_shells_ask_is_answered(shell: str, question: dict[str, str], on_path: dict[str, str]) -> None:
    """As their scripts ask it, also where those shells are not installed."""
    asked = on_path | question | {"_HEADRACE_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(["headrace"], env=asked, capture_output=True, text=True, check=False, timeout=120)
    assert "dlq" in done.stdout


def test_completion_imports_nothing_heavy(on_path: dict[str, str]) -> None:
    """Every press of the key pays for what the module of the command line imports."""
    code = f"import json, sys, compose.cli; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], env=on_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
