"""The `serving.security` section of `headrace.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from features.config import ClientTls, StrictConfig, read_yaml, validate


class TlsConfig(StrictConfig):
    """What the server shows its callers, and what it wants of them; read at the start."""

    certificate: Path
    """PEM chain, the server's own certificate first."""
    key: Path
    """PEM key of that certificate."""
    client_ca: Path | None = None
    """PEM certificates by which callers must prove themselves (mTLS); none: callers need no certificate."""
    clients: ClientTls | None = None
    """How commands on this machine reach the server, written into the endpoints file of `headrace up`; none: they
    trust `certificate` itself, which suits a self-signed one."""

    def for_own_clients(self) -> ClientTls:
        """Return how the commands of this machine connect."""
        return self.clients or ClientTls(ca=str(self.certificate))


class LimitsConfig(StrictConfig):
    """What one connection may take of the server."""

    concurrent_streams: int = Field(100, ge=1, le=100_000)
    """Calls in flight on one connection. Clients hold more back; bursts beyond are answered UNAVAILABLE, as gRPC guards
    itself against floods of resets, and tried again by ours."""
    connection_age_s: float = Field(3600.0, gt=0)
    """After it a connection is closed behind its calls, and clients connect anew: to other servers as well."""
    handshake_s: float = Field(10.0, gt=0)
    """A caller that is silent for so long after connecting is cut off."""
    ping_every_s: float = Field(10.0, ge=0)
    """Least time between two keepalive pings of a caller without calls in flight."""
    ping_strikes: int = Field(2, ge=1)
    """Pings too many before the connection is closed."""
    metadata_bytes: int = Field(8192, ge=1024, le=1024 * 1024)
    """Largest metadata of a call."""


class SecurityConfig(StrictConfig):
    """Who may call, and over which connections."""

    tls: TlsConfig | None = None
    """Certificates; none: plain text, on loopback only."""
    tokens_file: Path = Path("tokens.json")
    """Digests of the tokens, written by `headrace tokens`; relative to the state directory."""
    tokens_check_s: float = Field(1.0, gt=0, le=3600)
    """How often that file is looked at."""
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    """Bounds of a connection."""

    def tokens_path(self, state_dir: Path) -> Path:
        """Return where the tokens' digests are."""
        return state_dir / self.tokens_file


def load_security_config(path: Path) -> SecurityConfig:
    """Read `serving.security`, by which the ports of all parts are guarded.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    serving = read_yaml(path).get("serving")
    section = serving.get("security") if isinstance(serving, dict) else None
    return validate(section or {}, SecurityConfig, f"{path}: serving.security")
