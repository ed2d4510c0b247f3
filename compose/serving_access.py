"""How the commands of this machine get into the server: over TLS where it has certificates, with a token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from compose.errors import StackError
from features.config import ClientTls, Endpoints
from features.security.role import Role
from headrace_client import Tls
from headrace_client.calls import token_metadata
from headrace_client.tls import open_channel
from serving.security.operator_tokens import read_operator_token


@dataclass(frozen=True)
class ServingAccess:
    """What a call needs beside the address."""

    tls: ClientTls | None
    token: str

    @classmethod
    def of(cls, endpoints: Endpoints, role: Role, token_file: Path | None = None) -> ServingAccess:
        """Take the token from a file, else the one that the server left for this machine's commands.

        Raises:
            StackError: the file cannot be read.
        """
        if token_file is None:
            return cls(endpoints.tls, read_operator_token(Path(endpoints.state), role))
        try:
            return cls(endpoints.tls, token_file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise StackError(f"cannot read the token in {token_file}; name the file that holds it") from error

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call."""
        return token_metadata(self.token)


def client_tls(tls: ClientTls | None) -> Tls | None:
    """Return what the client package wants."""
    return None if tls is None else Tls(**tls.model_dump())


def open_grpc_channel(address: str, tls: ClientTls | None) -> Any:
    """Return a blocking channel.

    Raises:
        StackError: a file of `tls` cannot be read.
    """
    try:
        return open_channel(grpc, address, client_tls(tls), [])
    except OSError as error:
        raise StackError(f"cannot read {error.filename} ({error.strerror}); `tls` of the endpoints names it") from error
