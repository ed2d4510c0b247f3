"""`headrace dashboard` says where the page is, and signs in where it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from compose.cli import main
from compose.dashboard.__main__ import listen
from compose.ports import free_ports
from features.errors import StartupError
from tests.compose.running_commands import ENVIRONMENT, command
from tests.dashboard.staged_board import served_page, staged_board
from tests.running_stack import ROOT, wait_for


def endpoints_file(state_dir: Path, url: str) -> str:
    """Write where the page of a stack is."""
    path = state_dir / "endpoints.json"
    told = {"kafka": "", "redis": "", "model_store": "", "state": str(state_dir), "dashboard": url.rpartition("/")[2]}
    path.write_text(json.dumps(told))
    return str(path)


def test_the_running_page_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the token, and with it where it is asked for."""
    with served_page(staged_board(tmp_path)) as url:
        path = endpoints_file(tmp_path, url)
        for arguments in ((), ("--sign-in",)):
            with pytest.raises(SystemExit, match="0"):
                main(["dashboard", "--endpoints", path, *arguments])
    token = (tmp_path / "admin.token").read_text()
    assert capsys.readouterr().out.split() == [f"{url}/", f"{url}/#token={token}"]


@pytest.mark.parametrize("ends_it", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_page_of_its_own_ends_when_told_to(tmp_path: Path, ends_it: signal.Signals) -> None:
    """Without a traceback; the port for Prometheus is that of the stack's own page, and is left alone."""
    page, metrics = (f"127.0.0.1:{port}" for port in free_ports(2))
    told = {"kafka": "127.0.0.1:1", "redis": "127.0.0.1:1", "model_store": "", "state": str(tmp_path)}
    (tmp_path / "endpoints.json").write_text(json.dumps(told | {"dashboard": page, "metrics": {"dashboard": metrics}}))
    words = command("dashboard", "--port", str(free_ports(1)[0]), "--endpoints", tmp_path / "endpoints.json")
    log = tmp_path / "log"
    with listen(metrics), log.open("w") as output:
        environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"}
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=output, stderr=output)
        wait_for(lambda: "READY" in log.read_text(), "the page", 120)
        process.send_signal(ends_it)
        assert process.wait(60) == 0
    assert [word for word in ("Traceback", "cannot listen") if word in log.read_text()] == []


def test_without_a_stack_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit code of a stack that does not run."""
    with pytest.raises(SystemExit, match="3"):
        main(["dashboard", "--state", str(tmp_path)])
    assert "`headrace up` writes it" in capsys.readouterr().err


def test_a_taken_port_is_told_with_the_mend() -> None:
    """No traceback."""
    with listen("127.0.0.1:0") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=rf"cannot listen on 127.0.0.1:{port} .*choose another --port"):
            listen(f"127.0.0.1:{port}")
