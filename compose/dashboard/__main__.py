"""The dashboard: `python -m compose.dashboard --config headrace.yaml --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import ssl
import sys
from pathlib import Path

import uvicorn

from compose.dashboard.access import Access
from compose.dashboard.arms_report import ArmsReport
from compose.dashboard.board import Board
from compose.dashboard.page_metrics import PageMetrics
from compose.dashboard.web import Web
from features.config import ConfigError, Endpoints, load_app_config, load_endpoints, load_section
from features.errors import StartupError
from features.logs import set_up_logs
from features.metrics_config import load_metrics_config
from features.security.config import load_security_config
from features.security.listening import check_public, checked_address, ssl_context
from features.security.metrics_port import start_part_metrics
from features.security.role import Role
from features.security.token_file import Tokens
from serving.config import ServingConfig
from serving.security.operator_tokens import operator_files

_BAD_CONFIGURATION = 2
_LAST_ANSWERS_S = 2
DEFAULT_ADDRESS = "127.0.0.1:8088"
_FAMILIES = {True: socket.AF_INET6, False: socket.AF_INET}


class _Server(uvicorn.Server):
    """Says READY once it listens, as every part does."""

    async def startup(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        await super().startup(sockets)
        if self.started:
            print("READY dashboard", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until SIGTERM or Ctrl-C. Exit codes: 0 stopped, 2 bad configuration, or a port that is taken."""
    parser = argparse.ArgumentParser(prog="python -m compose.dashboard", description="The page of a running stack.")
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the running stack")
    parser.add_argument("--address", default="", help="host:port; that of the endpoints by default")
    options = parser.parse_args(arguments)
    set_up_logs("dashboard", options.config)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    try:
        endpoints = load_endpoints(options.endpoints)
        address = checked_address(options.address or endpoints.dashboard or DEFAULT_ADDRESS, "--bind, --port")
        metrics = PageMetrics()
        server = make_server(options.config, endpoints, address, metrics)
        listener = listen(address)
        told_at = _metrics_address(options.config, endpoints, options.address)
        security = load_security_config(options.config)
        port = start_part_metrics(told_at, [metrics], security, Path(endpoints.state))
    except (ConfigError, StartupError) as error:
        print(error, file=sys.stderr)
        return _BAD_CONFIGURATION
    for ends_it in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ends_it, lambda *_: None)  # uvicorn raises again, behind its end, what ended it.
    with listener:
        server.run(sockets=[listener])
    if port is not None:
        port.stop()
    return 0


def _metrics_address(config: Path, endpoints: Endpoints, address: str) -> str:
    """Return where Prometheus is answered: a second page at an address of its own leaves the stack's port alone."""
    is_second = bool(address) and bool(endpoints.dashboard) and address != endpoints.dashboard
    others = endpoints.model_copy(update={"metrics": {}}) if is_second else endpoints
    return load_metrics_config(config).address("dashboard", others)


def listen(address: str) -> socket.socket:
    """Return a socket that listens on `host:port`.

    Raises:
        StartupError: the address is taken, or none of this machine's.
    """
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=_FAMILIES[":" in host])
    except OSError as error:
        told = error.strerror or error
        raise StartupError(f"cannot listen on {address} for the dashboard: {told}; choose another --port") from error


def make_server(config_path: Path, endpoints: Endpoints, address: str, metrics: PageMetrics) -> uvicorn.Server:
    """Put the parts together; nothing listens yet.

    Raises:
        ConfigError: `headrace.yaml` or the tokens cannot be used.
        StartupError: the address, or the certificates, cannot be used.
    """
    app, serving = load_app_config(config_path), load_section(config_path, "serving", ServingConfig)
    state_dir, tls = Path(endpoints.state), serving.security.tls
    tokens = Tokens(serving.security.tokens_path(state_dir), operator_files(state_dir))
    check_public(address, "--bind", Role.METRICS, tls, tokens)
    if tls is not None:
        ssl_context(tls)
    board = Board(app, endpoints, metrics=metrics)
    web = Web(
        board, Access(tokens, address), ArmsReport(app, serving, endpoints.kafka_servers), is_https=tls is not None
    )

    async def follow() -> None:
        await asyncio.gather(board.follow(), tokens.follow(serving.security.tokens_check_s))

    return _Server(
        uvicorn.Config(
            web.app(follow),
            loop="asyncio",  # The connection to Redis is made for its transports.
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
            limit_concurrency=200,
            ssl_certfile=None if tls is None else str(tls.certificate),
            ssl_keyfile=None if tls is None else str(tls.key),
            ssl_ca_certs=None if tls is None or tls.client_ca is None else str(tls.client_ca),
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls is not None and tls.client_ca is not None else ssl.CERT_NONE,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
