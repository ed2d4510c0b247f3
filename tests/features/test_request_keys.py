"""Keys of request tokens: for their owner alone, made once, newest first."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.config import ConfigError, load_section
from features.request_keys import MAX_KEYS, add_request_key, make_request_keys, read_request_keys
from features.request_token_config import RequestTokensConfig


def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    """And stays so when a key is added."""
    path = tmp_path / "state" / "keys.json"
    for make in (make_request_keys, add_request_key):
        make(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    """Whoever reads them can sign."""
    path = tmp_path / "keys.json"
    make_request_keys(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others can read the request keys .*`chmod 600`"):
        read_request_keys(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"since_ms": 1, "keys": []}',
        '{"since_ms": 1, "keys": [{"id": "a", "secret": "c2hvcnQ", "created_ms": 1}]}',
        '{"since_ms": 1, "keys": [{"id": "a", "secret": "*", "created_ms": 1}]}',
    ],
    ids=["empty", "no fields", "no key", "short secret", "no base64"],
)
def test_unusable_file_is_told(tmp_path: Path, content: str) -> None:
    """In one sentence that names it, and the command that makes one."""
    path = tmp_path / "keys.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"cannot use the request keys in .*rotate-request-key"):
        read_request_keys(path)


def test_parts_that_start_together_make_one_file(tmp_path: Path) -> None:
    """Server and streams agree on the key, whoever is first."""
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: make_request_keys(path), range(32))) == 1


def test_the_oldest_keys_are_forgotten_but_not_since_when(tmp_path: Path) -> None:
    """The file does not grow, and no event of later gets by without a token."""
    path = tmp_path / "keys.json"
    make_request_keys(path, 7)
    for number in range(MAX_KEYS):
        add_request_key(path, 8 + number)
    keys = read_request_keys(path)
    assert (len(keys.keys), keys.keys[-1].created_ms, keys.since_ms) == (MAX_KEYS, 8, 7)


def test_tokens_are_off_by_default(tmp_path: Path) -> None:
    """And the section says where the keys are."""
    path = tmp_path / "headrace.yaml"
    path.write_text("actions: {click: {outcome: positive}}\n")
    config = load_section(path, "request_tokens", RequestTokensConfig)
    assert (config.is_enabled, config.keys_path(tmp_path)) == (False, tmp_path / "request-keys.json")
