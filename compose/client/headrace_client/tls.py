"""How a client proves the server, and itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for a connection over TLS; read when the client is made."""

    ca: Path | str = ""
    """Certificates that prove the server; empty: those that gRPC ships with."""
    certificate: Path | str = ""
    """The client's own, where the server wants one (mTLS)."""
    key: Path | str = ""
    """Key of that certificate."""
    server_name: str = ""
    """The name in the server's certificate, where it is not the host of the address."""

    def credentials(self) -> Any:
        """Return gRPC's channel credentials.

        Raises:
            OSError: a file cannot be read.
        """
        ca, certificate, key = (
            Path(path).read_bytes() if path else None for path in (self.ca, self.certificate, self.key)
        )
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def options(self) -> list[tuple[str, Any]]:
        """Return the channel options that belong to it."""
        return [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []


def open_channel(module: Any, address: str, tls: Tls | None, options: list[tuple[str, Any]]) -> Any:
    """Return a channel of `grpc` or `grpc.aio`; plain text without `tls`.

    Raises:
        OSError: a file of `tls` cannot be read.
    """
    if tls is None:
        return module.insecure_channel(address, options=options)
    return module.secure_channel(address, tls.credentials(), options=[*options, *tls.options()])
