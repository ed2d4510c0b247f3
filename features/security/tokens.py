"""Tokens as digests: what is stored of them, and which role a given one has."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

import msgspec

from features.security.role import Role

TOKENS_AT_ONCE = 2
"""Valid tokens of one name and role: the old one and the new one of a rotation."""
_BEARER = "Bearer "


class Token(msgspec.Struct, frozen=True):
    """One token as it is stored: its digest, never itself."""

    name: str
    """Who holds it."""
    role: Role
    sha256: str
    created_ms: int
    expires_ms: int = 0
    """0: never."""

    @property
    def token_id(self) -> str:
        """The beginning of the digest, by which people name a token."""
        return self.sha256[:8]

    def has_expired(self, now_ms: int) -> bool:
        """Say whether its time is over."""
        return 0 < self.expires_ms <= now_ms


class TokenBook:
    """All tokens of one moment.

    Args:
        tokens: in any order, expired ones too.
    """

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self.tokens = tuple(tokens)
        self._digests = [(bytes.fromhex(token.sha256), token) for token in self.tokens]

    def has(self, role: Role) -> bool:
        """Say whether a token of this role is there, expired or not: an expired one opens nothing."""
        return any(token.role is role for token in self.tokens)

    def roles_of(self, secret: str, now_ms: int) -> frozenset[Role]:
        """Return the roles of a given token, none where it is unknown or expired.

        Every digest is compared, each in constant time: how long it takes says nothing of the tokens.
        """
        given = hashlib.sha256(secret.encode()).digest()
        equal = [token for digest, token in self._digests if hmac.compare_digest(given, digest)]
        return frozenset(token.role for token in equal if not token.has_expired(now_ms))


def new_token(name: str, role: Role, now_ms: int, expires_ms: int = 0) -> tuple[str, Token]:
    """Make a token of 256 random bits; return it and what is stored of it."""
    secret = f"hr-{role}-{secrets.token_urlsafe(32)}"
    return secret, Token(name, role, digest_of(secret), now_ms, expires_ms)


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a token. Tokens are 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer_of(authorization: str | bytes) -> str:
    """Return the token of `authorization: Bearer TOKEN`, empty where it is none."""
    text = authorization.decode("utf-8", "replace") if isinstance(authorization, bytes) else authorization
    return text.removeprefix(_BEARER) if text.startswith(_BEARER) else ""


def token_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the token that a call's metadata carries, empty without one."""
    return bearer_of(next((value for key, value in metadata or () if key == "authorization"), ""))
