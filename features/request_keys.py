"""The keys of request tokens: `{"since_ms", "keys": [{"id", "secret", "created_ms"}]}`, newest first, for their owner.

The newest key signs. All of them check (streams/java/RequestKeys.java), so that a stream that is replayed finds the
same tokens good; but an older key only what was signed before the next one was made, so a key that leaked is of no
use once it was rotated and `lives_h` have passed. Events from before `since_ms`, when there was no key, need no token.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from features.config import ConfigError
from features.whole_file import replace_file

SECRET_BYTES = 32
MAX_KEYS = 64
"""More are forgotten, oldest first."""


class RequestKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key."""

    id: str
    """Stands in the tokens that it signed."""
    secret: str
    """Base64url without padding."""
    created_ms: int

    def secret_bytes(self) -> bytes:
        """Return what HMAC takes.

        Raises:
            ValueError: the secret is no base64, or too short to be one of ours.
        """
        secret = base64.urlsafe_b64decode(self.secret + "=" * (-len(self.secret) % 4))
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the secret of key {self.id!r:.40} is shorter than {SECRET_BYTES} bytes")
        return secret


class RequestKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All keys of one moment, newest first; never empty."""

    since_ms: int
    keys: tuple[RequestKey, ...]


def read_request_keys(path: Path) -> RequestKeys:
    """Return the keys of a file.

    Raises:
        ConfigError: it is missing, others can read it, or it cannot be used.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
        if mode & 0o077:
            raise ConfigError(f"others can read the request keys in {path} (mode {mode:04o}); `chmod 600` it")
        keys = msgspec.json.decode(content, type=RequestKeys)
        if not keys.keys:
            raise ValueError("it holds no key")
        for key in keys.keys:
            key.secret_bytes()
    except (OSError, msgspec.DecodeError, binascii.Error, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"cannot use the request keys in {path}: {reason}; `headrace tokens rotate-request-key` makes them"
        ) from error
    return keys


def make_request_keys(path: Path, now_ms: int | None = None) -> bool:
    """Make the file where it is missing; say whether it was.

    Raises:
        OSError: the disk refuses.
    """
    with _locked(path):
        if path.exists():
            return False
        now_ms = _now_ms() if now_ms is None else now_ms
        _write(path, RequestKeys(now_ms, (_new_key(now_ms),)))
        return True


def add_request_key(path: Path, now_ms: int | None = None) -> RequestKey:
    """Put a new key in front, which signs from now on; return it.

    Raises:
        ConfigError: the file cannot be used.
        OSError: the disk refuses.
    """
    make_request_keys(path, now_ms)
    with _locked(path):
        before = read_request_keys(path)
        key = _new_key(_now_ms() if now_ms is None else now_ms)
        _write(path, RequestKeys(before.since_ms, (key, *before.keys)[:MAX_KEYS]))
    return key


def _new_key(now_ms: int) -> RequestKey:
    return RequestKey(secrets.token_hex(4), secrets.token_urlsafe(SECRET_BYTES), now_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _write(path: Path, keys: RequestKeys) -> None:
    content = msgspec.json.format(msgspec.json.encode(keys), indent=2)
    replace_file(path, content + b"\n", mode=0o600, is_durable=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let server and streams, which start side by side, make one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
