"""What gRPC is told of a connection: certificates and bounds."""

from __future__ import annotations

from typing import Any

import grpc

from features.security.config import LimitsConfig, TlsConfig
from features.security.listening import read_pem, ssl_context


def server_credentials(tls: TlsConfig) -> Any:
    """Return gRPC's credentials of a server.

    Raises:
        StartupError: a file cannot be read or used.
    """
    ssl_context(tls)  # gRPC itself says of unusable files only that the port could not be taken.
    client_ca = None if tls.client_ca is None else read_pem(tls.client_ca, "client_ca")
    return grpc.ssl_server_credentials(
        [(read_pem(tls.key, "key"), read_pem(tls.certificate, "certificate"))],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )


def connection_options(limits: LimitsConfig, drain_s: float) -> list[tuple[str, int]]:
    """Return the bounds of a connection as gRPC's channel arguments."""
    return [
        ("grpc.max_concurrent_streams", limits.concurrent_streams),
        ("grpc.max_metadata_size", limits.metadata_bytes),
        ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1000.0)),
        ("grpc.max_connection_age_grace_ms", int(drain_s * 1000.0)),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake_s * 1000.0)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", int(limits.ping_every_s * 1000.0)),
        ("grpc.http2.max_ping_strikes", limits.ping_strikes),
        ("grpc.enable_channelz", 0),
    ]
