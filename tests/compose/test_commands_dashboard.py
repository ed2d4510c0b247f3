"""`headrace dashboard` says where the page is, and signs in where it is told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compose.cli import main
from compose.dashboard.__main__ import listen
from features.errors import StartupError
from tests.dashboard.staged_board import served_page, staged_board


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
