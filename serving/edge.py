"""The gRPC servers of one process: guarded, bounded, over TLS where there are certificates, at checked addresses."""

from __future__ import annotations

from typing import Any

import grpc

from features.errors import StartupError
from features.security.listening import check_public, checked_address
from features.security.role import Role
from features.security.token_file import Tokens
from serving.config import ServingConfig
from serving.security.connection import connection_options, server_credentials
from serving.security.guard import Guard


class Edge:
    """Makes servers and lets them listen.

    Args:
        config: bounds and certificates.
        tokens: judges tokens.
        shares_port: whether other processes of this server listen on the same port (SO_REUSEPORT). Else a second
            server on the port fails instead of sharing it by surprise.
    """

    def __init__(self, config: ServingConfig, tokens: Tokens, *, shares_port: bool = False) -> None:
        self._config = config
        self._tokens = tokens
        self._shares_port = shares_port

    def make_server(self, *, is_guarded: bool = True) -> Any:
        """Return a `grpc.aio` server without services."""
        config = self._config
        return grpc.aio.server(
            interceptors=(Guard(self._tokens),) if is_guarded else (),
            # Only the backstop: `serving/admission.py` refuses earlier, by priority, with a hint when to come again.
            maximum_concurrent_rpcs=2 * config.overload.max_in_flight + config.overload.reserved_calls,
            options=[
                ("grpc.max_receive_message_length", config.max_request_bytes),
                ("grpc.max_send_message_length", config.max_reply_bytes),
                ("grpc.so_reuseport", int(self._shares_port)),
                *connection_options(config.security.limits, config.drain_s),
            ],
        )

    def listen(self, server: Any, address: str, option: str, role: Role) -> str:
        """Bind, and return the address with the port that was taken.

        Raises:
            StartupError: the address cannot be used, or others can reach it and TLS or tokens are missing.
        """
        tls = self._config.security.tls
        check_public(checked_address(address, option), option, role, tls, self._tokens)
        credentials = None if tls is None else server_credentials(tls)
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address}: the port is taken or not ours; choose another") from error
        return f"{address.rpartition(':')[0]}:{port}"
