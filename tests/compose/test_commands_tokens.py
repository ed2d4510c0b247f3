"""`headrace tokens`: made and printed once, listed without secrets, revoked; and the commands that send one."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from compose.errors import StackError
from compose.serving_access import ServingAccess
from features.config import ClientTls, Endpoints
from features.request_keys import read_request_keys
from features.security.role import Role
from features.security.token_file import Tokens
from tests.compose.small_stack import ROOT
from tests.compose.test_cli import run

CONFIG = str(ROOT / "headrace.yaml")


def tokens(folder: Path, *arguments: str) -> int:
    """Run one command on the tokens of a state directory."""
    return run("tokens", *arguments, "--config", CONFIG, "--state", str(folder))


def test_token_is_printed_once_and_opens_its_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is what callers send; neither the list nor the file shows it again."""
    assert tokens(tmp_path, "create", "shop", "--days", "90") == 0
    secret = capsys.readouterr().out.strip()
    assert Tokens(tmp_path / "tokens.json").why_not(Role.RECOMMEND, secret) == ""
    assert tokens(tmp_path, "list") == 0
    listed = capsys.readouterr().out
    assert ("shop" in listed, "expires 20" in listed, secret in listed) == (True, True, False)
    assert secret not in (tmp_path / "tokens.json").read_text()


def test_token_can_go_into_a_file_that_only_its_owner_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the commands read it from there."""
    path = tmp_path / "ops.token"
    assert tokens(tmp_path, "create", "ops", "--role", "admin", "--output", str(path)) == 0
    assert (stat.S_IMODE(path.stat().st_mode), capsys.readouterr().out) == (0o600, "")
    endpoints = Endpoints(kafka="", redis="", model_store="", state=str(tmp_path), tls=ClientTls(ca="ca.pem"))
    access = ServingAccess.of(endpoints, Role.ADMIN, path)
    assert Tokens(tmp_path / "tokens.json").why_not(Role.ADMIN, access.token) == ""
    assert access.metadata == (("authorization", f"Bearer {access.token}"),)
    with pytest.raises(StackError, match="cannot read the token"):
        ServingAccess.of(endpoints, Role.ADMIN, tmp_path / "none")


def test_existing_output_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No token is made then."""
    path = tmp_path / "ops.token"
    path.write_text("mine")
    assert tokens(tmp_path, "create", "ops", "--output", str(path)) == 2
    assert "exists already" in capsys.readouterr().err
    assert (path.read_text(), (tmp_path / "tokens.json").exists()) == ("mine", False)


def test_refused_token_leaves_no_output_behind(tmp_path: Path) -> None:
    """The third of a name."""
    for _ in range(2):
        assert tokens(tmp_path, "create", "shop") == 0
    assert tokens(tmp_path, "create", "shop", "--output", str(tmp_path / "third")) == 2
    assert not (tmp_path / "third").exists()


def test_revoked_token_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name or by id; one that is not there is told."""
    tokens(tmp_path, "create", "shop")
    tokens(tmp_path, "create", "shop")
    capsys.readouterr()
    assert tokens(tmp_path, "list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert tokens(tmp_path, "revoke", first["id"]) == 0
    assert f"revoked {first['id']}" in capsys.readouterr().out
    assert tokens(tmp_path, "revoke", first["id"]) == 2
    assert tokens(tmp_path, "revoke", "shop") == 0
    assert second["id"] in capsys.readouterr().out


def test_rotated_request_key_signs_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command names it; as long as tokens are off, it says so."""
    for _ in range(2):
        assert tokens(tmp_path, "rotate-request-key") == 0
    printed = capsys.readouterr()
    newest, oldest, made = read_request_keys(tmp_path / "request-keys.json").keys
    assert (newest.id in printed.out, made.id in printed.out, oldest.secret in printed.out) == (True, False, False)
    assert "is_enabled is false" in printed.err
