"""Ask the servers themselves whether they are ready, in their own protocols."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from contextlib import closing
from typing import Any

from compose.ports import HOST
from features.config import ClientTls

_TIMEOUT_S = 0.5
_KAFKA_METADATA, _KAFKA_METADATA_VERSION = 3, 4


def kafka_answers(port: int) -> bool:
    """Say whether the broker lists itself in answer to a Metadata request (version 4, no topics)."""
    client = b"headrace"
    header = struct.pack(">hhih", _KAFKA_METADATA, _KAFKA_METADATA_VERSION, 1, len(client)) + client
    body = struct.pack(">ib", 0, 0)
    try:
        with socket.create_connection((HOST, port), _TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(header + body)) + header + body)
            answer = _read_exactly(connection, struct.unpack(">i", _read_exactly(connection, 4))[0])
    except (OSError, struct.error):
        return False
    # correlation id, throttle time, number of brokers; a broker still fenced by its controller is not listed.
    return bool(struct.unpack(">iii", answer[:12])[2] > 0)


def redis_answers(port: int) -> bool:
    """Say whether Redis answers PING with PONG (while it loads its files it says LOADING)."""
    try:
        with socket.create_connection((HOST, port), _TIMEOUT_S) as connection:
            connection.sendall(b"PING\r\n")
            return _read_exactly(connection, 5) == b"+PONG"
    except OSError:
        return False


def http_json(port: int, path: str, timeout_s: float = _TIMEOUT_S) -> Any:
    """Return what a server on this machine answers to GET, None where it does not answer with JSON."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=timeout_s)) as connection:
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return json.loads(response.read()) if response.status == http.HTTPStatus.OK else None
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return None


def flink_taskmanagers(rest_port: int) -> dict[str, int]:
    """Return the registered TaskManagers and their slots."""
    answer = http_json(rest_port, "/taskmanagers")
    return {each["id"]: int(each["slotsNumber"]) for each in (answer or {}).get("taskmanagers", [])}


def grpc_serving(address: str, service: str = "", tls: ClientTls | None = None) -> bool:
    """Say whether `grpc.health.v1` calls the service SERVING."""
    import grpc  # 0.2 s that only a supervisor with a server needs.
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from compose.serving_access import open_grpc_channel

    with open_grpc_channel(address, tls) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=_TIMEOUT_S
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError
        data += chunk
    return data
