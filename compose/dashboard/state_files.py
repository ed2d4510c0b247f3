"""The status that the parts write once a second: their files in the state directory, or over their Prometheus ports."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from compose.state_file import read_state_file
from features.client_context import client_context
from features.config import ClientTls, Endpoints
from features.security.metrics_port import STATUS_PATH

_PARTS = ("serving", "trainer", "ingester", "quality")
_STALE_MS = 15_000
_TIMEOUT_S = 1.5
_MOST_BYTES = 4 << 20


class StateFiles:
    """What the parts said last.

    Args:
        endpoints: the state directory where they write, and the ports of those that write elsewhere.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._state_dir = Path(endpoints.state)
        self._endpoints = endpoints
        self._told: dict[str, Mapping[str, Any]] = {name: {} for name in _PARTS}
        self._asking = ThreadPoolExecutor(len(_PARTS), "status of parts")

    def read(self) -> None:
        """Read every status again; one that cannot be read leaves nothing behind."""
        self._told = dict(zip(_PARTS, self._asking.map(self._read, _PARTS), strict=True))

    def __getitem__(self, part: str) -> Mapping[str, Any]:
        return self._told[part]

    def silent_parts(self, now_ms: int) -> list[str]:
        """Return the parts whose status is missing or has not been written for 15 s."""
        return [name for name, told in self._told.items() if now_ms - int(told.get("time_ms", 0)) > _STALE_MS]

    def _read(self, part: str) -> Mapping[str, Any]:
        address = self._endpoints.status.get(part, "")
        return _asked(address, self._endpoints) if address else read_state_file(self._state_dir / f"{part}.json")


def _asked(address: str, endpoints: Endpoints) -> Mapping[str, Any]:
    """Return what a part shows at its Prometheus port; empty where it shows nothing."""
    host, _, port = address.rpartition(":")
    try:
        with closing(HTTPConnection(host, int(port), timeout=_TIMEOUT_S)) as connection:
            connection.connect()
            if endpoints.tls is not None:
                connection.sock = _encrypted(connection.sock, endpoints.tls, host)
            connection.request("GET", STATUS_PATH, headers=_headers(endpoints.metrics_token_file))
            answer = connection.getresponse()
            told = json.loads(answer.read(_MOST_BYTES)) if answer.status == HTTPStatus.OK else None
    except (OSError, ValueError, HTTPException):
        return {}
    return told if isinstance(told, dict) else {}


def _encrypted(plain: socket.socket, tls: ClientTls, host: str) -> ssl.SSLSocket:
    context = client_context(tls.ca, tls.certificate, tls.key)
    return context.wrap_socket(plain, server_hostname=tls.server_name or host)


def _headers(token_file: str) -> dict[str, str]:
    """Return what lets us in; read anew each time, as tokens are rotated."""
    if not token_file:
        return {}
    return {"Authorization": f"Bearer {Path(token_file).read_text(encoding='utf-8').strip()}"}
