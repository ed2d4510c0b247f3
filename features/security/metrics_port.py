"""Prometheus' port: its own WSGI app behind the token of role `metrics`, over TLS where there are certificates.

Beside its metrics a part shows its status file here, for a dashboard that cannot read the part's disk.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from features.errors import AddressTakenError
from features.security.config import SecurityConfig, TlsConfig
from features.security.listening import check_public, checked_address, ssl_context
from features.security.role import Role
from features.security.token_file import Tokens
from features.security.tokens import bearer_of

_READ_TIMEOUT_S = 5.0
logger = logging.getLogger(__name__)
_STATUS_LINES = {"token": "401 Unauthorized", "role": "403 Forbidden"}

STATUS_PATH = "/status.json"
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class MetricsPort:
    """Answers scrapes from threads of its own.

    Args:
        address: `host:port`; port 0 takes a free one.
        registry: what is told.
        tokens: judges tokens.
        tls: certificates; None for plain text.
        status: the part's status file; None shows none.

    Raises:
        StartupError: the address or the certificates cannot be used.
    """

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        tokens: Tokens,
        tls: TlsConfig | None = None,
        status: Path | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        kind = _Server6 if ":" in host else _Server
        self.before_each: Callable[[], None] = lambda: None
        """Called before a scrape is judged."""
        guarded_app = guarded(_with_status(make_wsgi_app(registry), status), tokens)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            self.before_each()
            return guarded_app(environ, start_response)

        try:
            self._server = make_server(host.strip("[]"), int(port), app, kind, _Handler)
        except OSError as error:
            raise AddressTakenError(
                f"cannot listen on {address} for metrics: {error.strerror or error}; choose another port"
            ) from error
        self._server.tls = None if tls is None else ssl_context(tls)
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no longer."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def open_metrics_port(
    address: str,
    registry: CollectorRegistry,
    tokens: Tokens,
    tls: TlsConfig | None = None,
    status: Path | None = None,
) -> MetricsPort | None:
    """Bind Prometheus' port, where there is to be one.

    Args:
        address: `host:port`; empty for none.
        registry: what is told.
        tokens: judges tokens.
        tls: certificates, needed where others can reach the port.
        status: the part's status file; None shows none.

    Raises:
        StartupError: the address or the certificates cannot be used.
    """
    if not address:
        return None
    check_public(checked_address(address, "metrics"), "metrics.host", Role.METRICS, tls, tokens)
    return MetricsPort(address, registry, tokens, tls, status)


def start_part_metrics(
    address: str, collectors: Iterable[Collector], security: SecurityConfig, state_dir: Path, status: str = ""
) -> MetricsPort | None:
    """Answer scrapes of a part that has no other port: behind the server's tokens, over its certificates.

    Where the address is taken the part goes on without. `status` names its status file in the state directory.

    Raises:
        StartupError: the address or the certificates cannot be used.
        ConfigError: the tokens cannot be used.
    """
    if not address:
        return None
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    tokens = Tokens(security.tokens_path(state_dir))
    try:
        port = open_metrics_port(address, registry, tokens, security.tls, state_dir / status if status else None)
    except AddressTakenError as error:  # A standby on the same machine, most likely: it must be able to take over.
        logger.error("%s; nobody is told how this part does", error)
        return None
    if port is not None:
        port.before_each = tokens.check
        port.start()
    return port


def _with_status(app: App, status: Path | None) -> App:
    """Return the app, with a part's status file at a path of its own."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if status is None or environ.get("PATH_INFO") != STATUS_PATH:
            return app(environ, start_response)
        try:
            content = status.read_bytes()
        except OSError:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"no status was written yet\n"]
        start_response("200 OK", [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [content]

    return answer


def guarded(app: App, tokens: Tokens) -> App:
    """Return the app behind the token of role `metrics`, where one is configured."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        reason = tokens.why_not(Role.METRICS, bearer_of(environ.get("HTTP_AUTHORIZATION", "")))
        if not reason:
            return app(environ, start_response)
        start_response(_STATUS_LINES[reason], [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain")])
        return [b"this port needs `authorization: Bearer TOKEN` with a token of role metrics\n"]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    tls: Any = None

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands in the request's own thread: a silent caller must hold up nobody else."""
        request.settimeout(_READ_TIMEOUT_S)
        if self.tls is not None:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except OSError:
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that hang up."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # The name is the base class's.
        """Log no scrapes."""
