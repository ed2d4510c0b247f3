"""`make setup` does only what is missing, and starts a step again that was cut off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compose import bootstrap
from tests.compose.small_stack import ROOT

Commands = list[list[str]]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A checkout whose tools 'run' by being noted; a Python environment comes from a `uv sync`."""
    noted: Commands = []
    for name in bootstrap._INPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name, value in {
        "ROOT": tmp_path,
        "TOOLS": tmp_path / ".tools",
        "ENVIRONMENT": tmp_path / ".venv",
        "UV": tmp_path / ".tools" / "bin" / "uv",
        "_STAMP": tmp_path / ".venv" / ".complete",
        "_COMPILED": tmp_path / ".venv" / ".compiled",
        "_UNFINISHED": tmp_path / ".tools" / "sync-unfinished",
    }.items():
        monkeypatch.setattr(bootstrap, name, value)
    (tmp_path / ".tools").mkdir()

    def note(command: list[str], _environment: dict[str, str], hint: str = "") -> None:
        noted.append(command)
        if "sync" in command:
            (tmp_path / ".venv").mkdir(exist_ok=True)

    monkeypatch.setattr(bootstrap, "run", note)
    monkeypatch.setattr(bootstrap, "_succeeds", lambda _command: (tmp_path / ".venv").exists())
    return noted


def test_complete_environment_is_left_alone(commands: Commands) -> None:
    """The second `make setup` installs nothing."""
    bootstrap.sync_environment({})
    bootstrap.sync_environment({})
    assert len(commands) == 1


def test_packages_are_compiled_when_they_are_installed() -> None:
    """An environment that a part may not write to would be compiled anew at every start."""
    assert bootstrap.child_environment()["UV_COMPILE_BYTECODE"] == "1"


def test_changed_lock_is_followed(commands: Commands) -> None:
    """A pulled commit with other versions reaches the environment."""
    bootstrap.sync_environment({})
    (bootstrap.ROOT / "uv.lock").write_text("newer")
    bootstrap.sync_environment({})
    assert len(commands) == 2


def test_compiled_functions_follow_their_sources(commands: Commands) -> None:
    """Compiled once, and again when a file of them changed."""
    bootstrap.sync_environment({})
    (bootstrap.ROOT / "features").mkdir()
    for text in ("compiled", "compiled", "compiled anew"):
        (bootstrap.ROOT / "features" / "one.py").write_text(text)
        bootstrap.compile_loops({})
    assert [command[-1] for command in commands[1:]] == ["trainer.warm_up"] * 2


def test_interrupted_installation_starts_from_nothing(commands: Commands) -> None:
    """Half an installation can look whole to uv: it is removed, and built again from the cache."""
    bootstrap.sync_environment({})
    bootstrap._UNFINISHED.touch()
    bootstrap._STAMP.unlink()
    half = bootstrap.ENVIRONMENT / "half-a-package"
    half.touch()
    bootstrap.sync_environment({})
    assert not half.exists()
    assert len(commands) == 2
    assert not bootstrap._UNFINISHED.exists()


def test_failed_step_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The command, its exit code and a hint; no traceback."""
    with pytest.raises(bootstrap.SetupError, match="failed with exit code 3; check the network"):
        bootstrap.run([sys.executable, "-c", "raise SystemExit(3)"], {}, hint="check the network")


def test_missing_tool_is_one_sentence() -> None:
    """A tool that cannot be run at all is named."""
    with pytest.raises(bootstrap.SetupError, match="cannot run /no/such/tool"):
        bootstrap.run(["/no/such/tool"], {})


def test_pips_certificates_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a company's proxy uv and jgo trust what pip was told to trust."""
    certificates = tmp_path / "certificates.pem"
    certificates.touch()
    monkeypatch.setenv("PIP_CERT", str(certificates))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    environment = bootstrap.child_environment()
    assert environment["SSL_CERT_FILE"] == environment["REQUESTS_CA_BUNDLE"] == str(certificates)


def test_setup_needs_no_installed_package() -> None:
    """It runs before anything is installed, on the bare interpreter."""
    code = "import runpy; runpy.run_path('compose/bootstrap.py', run_name='loaded')"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=ROOT, check=True)
