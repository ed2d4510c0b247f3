"""How every Redis client of Headrace connects: address, TLS, login; the endpoints file says it."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

from pydantic import model_validator

from features.client_context import client_context
from features.strict_config import StrictConfig

TLS_TIMEOUT_S = 1.0
"""How long Feast's own client waits for a connection or an answer over TLS."""


class RedisSecurity(StrictConfig):
    """What a Redis wants to see of its clients; secrets are named by file, never written here."""

    is_tls: bool = True
    """Whether connections are encrypted."""
    ca: str = ""
    """PEM certificates that prove the server; empty: those of the machine."""
    certificate: str = ""
    """PEM file with the client's own certificate chain, where the server wants one."""
    key: str = ""
    """PEM file with the key of that certificate."""
    username: str = ""
    """Name of the ACL user; empty: Redis' `default`."""
    password_file: str = ""
    """File that holds the password, read at every connect; empty: the client does not log in."""

    @model_validator(mode="after")
    def _pairs_are_whole(self) -> RedisSecurity:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key belong together; give both, or none")
        if self.username and not self.password_file:
            raise ValueError(f"username {self.username!r} needs a password_file")
        return self

    def credentials(self) -> tuple[str, ...]:
        """Return what AUTH is given: name and password, or a password alone; nothing where nobody logs in.

        Raises:
            OSError: the password cannot be read; who waits for Redis waits for it, too.
        """
        if not self.password_file:
            return ()
        password = Path(self.password_file).read_text(encoding="utf-8").strip()
        return (self.username, password) if self.username else (password,)

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return how to encrypt, None for plain text.

        Raises:
            OSError: a file cannot be read, or is no certificate.
        """
        return client_context(self.ca, self.certificate, self.key) if self.is_tls else None


class RedisServer(str):
    """`host:port` that knows how it is reached."""

    security: RedisSecurity | None

    def __new__(cls, address: str, security: RedisSecurity | None = None) -> RedisServer:
        """Return `address` with its security; none is plain text without a login."""
        made = super().__new__(cls, address)
        made.security = security
        return made


def security_of(address: str) -> RedisSecurity | None:
    """Return how an address is reached; None for plain text without a login, as of any other text."""
    return getattr(address, "security", None)


def parse_address(address: str) -> tuple[str, int]:
    """Split `host:port`; an IPv6 host may stand in brackets.

    Raises:
        ValueError: it is anything else.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"endpoints: redis must be host:port, not {str(address)!r}")
    return host.strip("[]"), int(port)


def feast_options(address: str) -> str:
    """Return what Feast's `connection_string` says beside the address, from its comma on; empty for plain text.

    Feast splits it at commas and reads each value as JSON, so the password is JSON without a comma.

    Raises:
        OSError: the password cannot be read.
    """
    security = security_of(address)
    if security is None:
        return ""
    options: dict[str, str | bool | float] = {}
    if security.is_tls:
        # A handshake on a busy machine takes longer than the 30 ms that `feature_store.yaml` gives plain text.
        options |= {"socket_timeout": TLS_TIMEOUT_S, "socket_connect_timeout": TLS_TIMEOUT_S}
        files = {"ssl_ca_certs": security.ca, "ssl_certfile": security.certificate, "ssl_keyfile": security.key}
        options |= {"ssl": True, "ssl_check_hostname": True, **{name: path for name, path in files.items() if path}}
    credentials = security.credentials()
    options |= dict(zip(("password", "username"), reversed(credentials), strict=False))
    return "".join(f",{name}={json.dumps(value).replace(',', chr(92) + 'u002c')}" for name, value in options.items())
