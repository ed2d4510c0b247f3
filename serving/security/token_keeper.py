"""Makes, lists and revokes tokens in their file; the servers that follow it take the change without a restart."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from features.config import ConfigError
from features.security.role import Role
from features.security.token_records import read_tokens, write_tokens
from features.security.tokens import TOKENS_AT_ONCE, Token, new_token

MAX_NAME_CHARS = 64


class TokenKeeper:
    """The tokens of one file, changed under a lock.

    Args:
        path: the file.
        clock_ms: tells the time.
    """

    def __init__(self, path: Path, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._path = path
        self._clock_ms = clock_ms

    def create(self, name: str, role: Role, lives_s: float | None = None) -> tuple[str, Token]:
        """Make a token and return it with its record; nobody can read it again later. Expired ones are dropped.

        Raises:
            ConfigError: the name cannot be used, or two tokens of it are valid already.
        """
        if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
            raise ConfigError(f"the name {name!r:.80} has {len(name)} characters; give 1 to {MAX_NAME_CHARS} printable")
        now_ms = self._clock_ms()
        with self._locked():
            kept = tuple(token for token in read_tokens(self._path).tokens if not token.has_expired(now_ms))
            same = [token for token in kept if (token.name, token.role) == (name, role)]
            if len(same) >= TOKENS_AT_ONCE:
                ids = " and ".join(token.token_id for token in same)
                raise ConfigError(
                    f"{name!r} has {len(same)} valid tokens of role {role} ({ids}), {TOKENS_AT_ONCE} at most; "
                    f"revoke the older one with `headrace tokens revoke {same[0].token_id}`"
                )
            secret, token = new_token(name, role, now_ms, 0 if lives_s is None else now_ms + int(lives_s * 1000.0))
            write_tokens(self._path, (*kept, token))
        return secret, token

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens, expired ones too.

        Raises:
            ConfigError: the file cannot be used.
        """
        return read_tokens(self._path).tokens

    def matching(self, name_or_id: str) -> tuple[Token, ...]:
        """Return every token of a name, or the one with an id.

        Raises:
            ConfigError: there is none, or the file cannot be used.
        """
        found = tuple(token for token in self.tokens() if name_or_id in (token.name, token.token_id, token.sha256))
        if not found:
            raise ConfigError(f"no token has the name or id {name_or_id!r:.80}; `headrace tokens list` shows them")
        return found

    def revoke(self, name_or_id: str) -> tuple[Token, ...]:
        """Forget every token of a name, or the one with an id; return what was forgotten.

        Raises:
            ConfigError: there is none, or the file cannot be used.
        """
        with self._locked():
            gone = self.matching(name_or_id)
            write_tokens(self._path, tuple(token for token in self.tokens() if token not in gone))
        return gone

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f"{self._path.name}.lock").open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
