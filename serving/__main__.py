"""Run one server: `python -m serving --config headrace.yaml --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from features.config import ConfigError, load_app_config, load_endpoints, load_section
from features.request_token_config import RequestTokensConfig
from serving.config import ServingConfig
from serving.errors import StartupError


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="addresses, as `headrace up` writes them")
    parser.add_argument("--address", help="Recommender's host:port; port 0 takes a free one")
    parser.add_argument("--admin-address", default="", help="ModelAdmin's host:port; without it there is none")
    parser.add_argument("--name", default="serving", help="names the status file STATE/NAME.json")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    app = load_app_config(arguments.config)
    serving = load_section(arguments.config, "serving", ServingConfig)
    endpoints = load_endpoints(arguments.endpoints)
    # Imported here: torch and grpc take seconds, a mistake in the configuration is told at once.
    from serving.server import ServerSettings, run_server

    is_stopping = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, is_stopping.set)
    address = arguments.address or endpoints.serving or serving.address
    tokens = load_section(arguments.config, "request_tokens", RequestTokensConfig)
    settings = ServerSettings(
        app, serving, endpoints, address, arguments.admin_address, arguments.name, arguments.config, tokens
    )
    await run_server(settings, is_stopping)


def main() -> int:
    """Serve until SIGTERM; return 2 where the server cannot start as told."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.ERROR)  # It logs every reconnect attempt; our readers say it once.
    logging.getLogger("feast").setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(_parse_arguments()))
    except (ConfigError, StartupError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
