"""The command line: one sentence and a meaningful exit code for everything that can be expected."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from compose.cli import main
from compose.local_stack import LocalStack
from compose.ports import free_ports
from tests.compose.small_stack import ROOT

VERBS = ("up", "down", "demo", "status", "doctor", "topics", "features", "recommend", "models", "reload", "replay")
MORE_VERBS = ("tokens",)


def run(*arguments: str) -> int:
    """Run one command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def endpoints_file(folder: Path, **changes: str) -> Path:
    """Write addresses at which nothing listens."""
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    addresses = {"kafka": dead, "redis": dead, "serving": dead, "admin": dead, "model_store": "", "state": str(folder)}
    path = folder / "endpoints.json"
    path.write_text(json.dumps(addresses | changes))
    return path


def test_help_lists_every_verb_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """`headrace --help` is the table of contents."""
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"\b{verb}\b", text) for verb in (*VERBS, *MORE_VERBS))
    assert "3 stack not running" in " ".join(text.split())


NEED_A_STACK = ("down", "status", "recommend u1", "models", "reload", "rollback", "pin", "unpin")
ABOUT_VERSIONS = ("models load 1.2", "models release", "models reject")


@pytest.mark.parametrize("command", [*NEED_A_STACK, *ABOUT_VERSIONS])
def test_commands_without_a_stack_say_so(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3 and the command that starts one."""
    assert run(*command.split(), "--state", str(tmp_path / "none")) == 3
    assert "`headrace up`" in capsys.readouterr().err


def test_server_that_does_not_answer_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stack that died leaves its endpoints file behind."""
    endpoints = endpoints_file(tmp_path)
    assert run("recommend", "u1", "--endpoints", str(endpoints)) == 3
    assert "no server answers at 127.0.0.1:" in capsys.readouterr().err


def test_damaged_endpoints_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a file is a configuration error."""
    (tmp_path / "endpoints.json").write_text('{"kafka": ')
    assert run("recommend", "u1", "--state", str(tmp_path)) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_configuration_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`up` names the file and the option."""
    assert run("up", "--config", str(tmp_path / "none.yaml"), "--state", str(tmp_path)) == 2
    assert "name another file with --config" in capsys.readouterr().err


def test_second_stack_in_one_state_directory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4 and the command that ends the first."""
    with LocalStack(ROOT / "headrace.yaml", tmp_path, parts=["redis"]) as stack:
        stack.start()
        code = run("up", "--config", str(ROOT / "headrace.yaml"), "--state", str(tmp_path), "--ports", "auto")
    assert code == 4
    assert f"`headrace down --state {tmp_path}`" in capsys.readouterr().err


def test_bad_option_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as the shell's own commands have it."""
    assert run("up", "--ports", "some") == 2
    assert "--ports" in capsys.readouterr().err


def test_status_of_a_running_stack_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every part with state, process and restarts."""
    with LocalStack(ROOT / "headrace.yaml", tmp_path, parts=["redis"]) as stack:
        stack.start()
        assert run("status", "--state", str(tmp_path), "--json") == 0
        report = json.loads(capsys.readouterr().out)
        pid = stack.pid_of("redis")
    assert report["is_up"] is True
    assert report["parts"] == [{"name": "redis", "state": "ready", "pid": pid, "restarts": 0}]


def test_make_alone_prints_the_verbs() -> None:
    """At most twelve, each with what it does."""
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert 6 <= len(lines) <= 12
    assert all(words[0] == "make" and len(words) == 3 for words in lines)
