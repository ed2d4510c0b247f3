"""Asks a server for its health, for containers: `python -m serving.health_check --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from features.config import ClientTls, ConfigError, load_endpoints

FULL = "headrace.full"
_TIMEOUT_S = 3.0


def is_serving(address: str, service: str = "", tls: ClientTls | None = None) -> bool:
    """Say whether the server calls a service SERVING.

    Raises:
        OSError: a certificate cannot be read.
    """
    with _channel(address, tls) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _channel(address: str, tls: ClientTls | None) -> Any:
    if tls is None:
        return grpc.insecure_channel(address)
    ca, key, certificate = (Path(name).read_bytes() if name else None for name in (tls.ca, tls.key, tls.certificate))
    options = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, certificate), options)


def main(arguments: list[str] | None = None) -> int:
    """Ask once. Exit codes: 0 it serves, 1 it does not, 2 the endpoints cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m serving.health_check", description="Does the server serve?")
    parser.add_argument("--endpoints", type=Path, required=True, help="addresses and `tls`, as the server was given")
    parser.add_argument("--address", default="", help="host:port; `serving` of the endpoints by default")
    parser.add_argument("--full", action="store_true", help="only at full quality")
    options = parser.parse_args(arguments)
    try:
        endpoints = load_endpoints(options.endpoints)
        address = options.address or endpoints.serving
        serves = is_serving(address, FULL if options.full else "", endpoints.tls)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not serves:
        print(f"{address} is not SERVING", file=sys.stderr)
    return 0 if serves else 1


if __name__ == "__main__":
    sys.exit(main())
