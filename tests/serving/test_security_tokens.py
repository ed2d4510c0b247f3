"""Laws of tokens: digests only, two at a time, expiry, live rotation, nothing opened by a mistake."""

from __future__ import annotations

import hmac
import json
import stat
from pathlib import Path

import pytest

from features.config import ConfigError
from features.security.role import Role
from features.security.token_file import Tokens
from features.security.tokens import TokenBook, bearer_of, token_of
from serving.security.operator_tokens import make_operator_tokens, operator_files, read_operator_token
from serving.security.token_keeper import TokenKeeper

DAY_S = 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the tokens are."""
    return tmp_path / "state" / "tokens.json"


def test_only_the_digest_is_kept_for_its_owner_alone(path: Path) -> None:
    """The file holds no token, and others cannot read it."""
    secret, token = TokenKeeper(path).create("shop", Role.RECOMMEND)
    assert (secret in path.read_text(), token.sha256 in path.read_text()) == (False, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(secret) > 43


def test_third_token_of_a_name_is_refused_until_one_is_revoked(path: Path) -> None:
    """Two are valid at a time, so that a rotation has an overlap; another name or role has its own two."""
    keeper = TokenKeeper(path)
    _, first = keeper.create("shop", Role.RECOMMEND)
    keeper.create("shop", Role.RECOMMEND)
    with pytest.raises(ConfigError, match=f"2 valid tokens of role recommend.*revoke {first.token_id}"):
        keeper.create("shop", Role.RECOMMEND)
    keeper.create("shop", Role.METRICS)
    keeper.create("app", Role.RECOMMEND)
    assert keeper.revoke(first.token_id) == (first,)
    keeper.create("shop", Role.RECOMMEND)
    assert len(keeper.revoke("shop")) == 3
    assert [token.name for token in keeper.tokens()] == ["app"]


def test_expired_token_opens_nothing_and_takes_no_place(path: Path) -> None:
    """Its end is exact; the role stays guarded."""
    now = [1_000_000]
    keeper = TokenKeeper(path, lambda: now[0])
    secret, _ = keeper.create("shop", Role.RECOMMEND, DAY_S)
    keeper.create("shop", Role.RECOMMEND, DAY_S)
    tokens = Tokens(path, clock_ms=lambda: now[0])
    now[0] += int(DAY_S * 1000) - 1
    assert (tokens.why_not(Role.RECOMMEND, secret), tokens.count(Role.RECOMMEND)) == ("", 2)
    now[0] += 1
    assert (tokens.why_not(Role.RECOMMEND, secret), tokens.count(Role.RECOMMEND)) == ("token", 0)
    keeper.create("shop", Role.RECOMMEND)
    assert len(keeper.tokens()) == 1


def test_rotation_takes_effect_without_a_restart(path: Path) -> None:
    """Both tokens hold during the overlap, the old one no longer afterwards."""
    keeper = TokenKeeper(path)
    old, first = keeper.create("shop", Role.RECOMMEND)
    tokens = Tokens(path)
    new, _ = keeper.create("shop", Role.RECOMMEND)
    assert tokens.why_not(Role.RECOMMEND, new) == "token"
    tokens.check()
    assert [tokens.why_not(Role.RECOMMEND, secret) for secret in (old, new)] == ["", ""]
    keeper.revoke(first.token_id)
    tokens.check()
    assert [tokens.why_not(Role.RECOMMEND, secret) for secret in (old, new)] == ["token", ""]


def test_role_without_tokens_is_open_until_the_first_and_closed_for_good(path: Path) -> None:
    """Revoking the last token, or losing the file, opens nothing."""
    keeper = TokenKeeper(path)
    tokens = Tokens(path)
    assert tokens.why_not(Role.RECOMMEND, "") == ""
    keeper.create("shop", Role.RECOMMEND)
    tokens.check()
    keeper.revoke("shop")
    tokens.check()
    assert tokens.why_not(Role.RECOMMEND, "") == "token"
    path.unlink()
    tokens.check()
    assert tokens.why_not(Role.RECOMMEND, "") == "token"


@pytest.mark.parametrize(
    "content", ["{", '{"tokens": [{"name": "a"}]}', '{"tokens": [], "more": 1}', b"\xff", '{"tokens": [%s]}']
)
def test_damaged_file_keeps_the_tokens_as_they_were(path: Path, content: str | bytes) -> None:
    """At the start it ends the server, later it is told and the old tokens hold."""
    bad_digest = '{"name": "a", "role": "admin", "sha256": "12", "created_ms": 0}'
    data = content if isinstance(content, bytes) else content.replace("%s", bad_digest).encode()
    secret, _ = TokenKeeper(path).create("shop", Role.RECOMMEND)
    tokens = Tokens(path)
    path.write_bytes(data)
    tokens.check()
    assert (tokens.why_not(Role.RECOMMEND, secret), "tokens file" in tokens.refusal) == ("", True)
    stale = [metric.samples[0].value for metric in tokens.collect() if metric.name == "headrace_serving_tokens_stale"]
    assert stale == [1]
    with pytest.raises(ConfigError, match="tokens file"):
        Tokens(path)


def test_every_digest_is_compared_in_constant_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long an answer takes says nothing of the tokens: no early exit, no `==`."""
    compared: list[bytes] = []

    def compare(given: bytes, digest: bytes) -> bool:
        compared.append(digest)
        return real(given, digest)

    real = hmac.compare_digest
    keeper = TokenKeeper(path)
    first, _ = keeper.create("a", Role.RECOMMEND)
    for name in "bcd":
        keeper.create(name, Role.RECOMMEND)
    book = TokenBook(keeper.tokens())
    monkeypatch.setattr("features.security.tokens.hmac.compare_digest", compare)
    assert book.roles_of(first, 0) == {Role.RECOMMEND}
    assert len(compared) == 4


def test_operator_tokens_pass_and_do_not_guard(tmp_path: Path) -> None:
    """The machine's own commands work where a role is guarded, and close nothing where it is not."""
    make_operator_tokens(tmp_path)
    before = read_operator_token(tmp_path, Role.ADMIN)
    make_operator_tokens(tmp_path)
    assert read_operator_token(tmp_path, Role.ADMIN) == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in operator_files(tmp_path).values()} == {0o600}
    tokens = Tokens(tmp_path / "tokens.json", operator_files(tmp_path))
    assert tokens.why_not(Role.RECOMMEND, "") == ""
    assert [tokens.why_not(Role.ADMIN, secret) for secret in (before, "", "x")] == ["", "token", "token"]
    tokens.guard(Role.RECOMMEND)
    assert tokens.why_not(Role.RECOMMEND, read_operator_token(tmp_path, Role.RECOMMEND)) == ""
    assert tokens.why_not(Role.RECOMMEND, before) == "role"


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), (b"Bearer abc", "abc"), ("abc", ""), ("", ""), ("Basic abc", ""), (b"\xff", "")],
)
def test_token_is_what_stands_behind_bearer(header: str | bytes, token: str) -> None:
    """Anything else is no token."""
    assert bearer_of(header) == token


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 65])
def test_name_that_cannot_be_used_is_refused(path: Path, name: str) -> None:
    """Nothing is written."""
    with pytest.raises(ConfigError, match="give 1 to 64 printable"):
        TokenKeeper(path).create(name, Role.ADMIN)
    assert not path.exists()


def test_file_says_who_holds_what(path: Path) -> None:
    """Ops can read it: name, role, digest, times."""
    TokenKeeper(path, lambda: 5).create("shop", Role.METRICS, 1.0)
    (token,) = json.loads(path.read_text())["tokens"]
    assert {key: value for key, value in token.items() if key != "sha256"} == {
        "name": "shop",
        "role": "metrics",
        "created_ms": 5,
        "expires_ms": 1005,
    }


def test_token_is_found_in_the_metadata_of_a_call() -> None:
    """Among other keys, as text or bytes; none is empty."""
    assert token_of((("user-agent", "x"), ("authorization", "Bearer hr-recommend-1"))) == "hr-recommend-1"
    assert token_of((("authorization", b"Bearer hr-recommend-1"),)) == "hr-recommend-1"
    assert (token_of(None), token_of(()), token_of((("authorization", "Basic x"),))) == ("", "", "")
