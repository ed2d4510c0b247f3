"""Run a server: `python -m serving --config headrace.yaml --endpoints endpoints.json`, with `--workers N` processes."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from features.config import ConfigError, Endpoints, load_app_config, load_endpoints, load_section
from features.errors import StartupError
from features.logs import set_up_logs
from features.metrics_config import load_metrics_config
from features.model_store_config import ModelStoreConfig
from features.request_token_config import RequestTokensConfig
from serving.config import ServingConfig
from serving.errors import WorkersLostError
from serving.grpc_log import keep_late_answers_quiet
from serving.server_settings import QUOTA_FILE, ServerSettings
from trainer.version_files import open_versions

_EPILOG = (
    "Snapshots come from model_store.uri of headrace.yaml, else from model_store of the endpoints file; those of S3 "
    "are copied to STATE/model_cache (docs/publishing.md)."
)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="addresses, as `headrace up` writes them")
    parser.add_argument("--address", help="Recommender's host:port; port 0 takes a free one")
    parser.add_argument("--admin-address", default="", help="ModelAdmin's host:port; without it there is none")
    parser.add_argument("--name", default="serving", help="names the status file STATE/NAME.json")
    parser.add_argument("--workers", type=int, help="processes that share the port; serving.workers by default")
    parser.add_argument("--worker-socket", type=Path, help=argparse.SUPPRESS)  # How a parent starts its workers.
    arguments = parser.parse_args()
    if arguments.workers is not None and arguments.workers < 1:
        parser.error(f"--workers is {arguments.workers}; give 1 or more")
    return arguments


async def _serve(arguments: argparse.Namespace) -> None:
    set_up_logs("serving", arguments.config)
    app = load_app_config(arguments.config)
    serving = load_section(arguments.config, "serving", ServingConfig)
    endpoints = load_endpoints(arguments.endpoints)
    is_stopping = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, is_stopping.set)
    settings = ServerSettings(
        app,
        serving,
        endpoints,
        address=arguments.address or endpoints.serving or serving.address,
        admin_address=arguments.admin_address,
        metrics_address=_metrics_address(arguments, endpoints),
        name=arguments.name,
        rules_path=arguments.config,
        is_worker=arguments.worker_socket is not None,
        quota_path=arguments.worker_socket and arguments.worker_socket.parent / QUOTA_FILE,
        request_tokens=load_section(arguments.config, "request_tokens", RequestTokensConfig),
        model_store=load_section(arguments.config, "model_store", ModelStoreConfig),
    )
    # A store that cannot be opened is told here, once, and not by every worker again and again.
    open_versions(settings.model_store.uri_of(endpoints), app.name, settings.model_store)
    num_workers = arguments.workers or serving.workers
    # Imported here: torch and grpc take seconds, a mistake in the configuration is told at once.
    if settings.is_worker:
        from serving.workers.worker import run_worker

        await run_worker(settings, arguments.worker_socket, is_stopping)
    elif num_workers > 1:
        from serving.workers.parent import run_parent

        await run_parent(settings, num_workers, _worker_command(arguments), is_stopping)
    else:
        from serving.server import run_server

        await run_server(settings, is_stopping)


def _metrics_address(arguments: argparse.Namespace, endpoints: Endpoints) -> str:
    """Return where Prometheus is answered: a second server at an address of its own leaves the stack's port alone."""
    is_second = bool(arguments.address) and arguments.address != endpoints.serving
    others = endpoints.model_copy(update={"metrics": {}}) if is_second and endpoints.serving else endpoints
    return load_metrics_config(arguments.config).address("serving", others)


def _worker_command(arguments: argparse.Namespace) -> Callable[[Path, str], Sequence[str]]:
    """Return how a parent with these arguments starts its workers."""

    def command(socket: Path, address: str) -> Sequence[str]:
        given = ("--config", str(arguments.config), "--endpoints", str(arguments.endpoints), "--name", arguments.name)
        return (sys.executable, "-m", "serving", *given, "--address", address, "--worker-socket", str(socket))

    return command


def main() -> int:
    """Serve until SIGTERM; return 2 where the server cannot start as told, 1 where its workers are lost."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # It logs every reconnect attempt; our readers say it once.
    logging.getLogger("feast").setLevel(logging.WARNING)
    keep_late_answers_quiet()
    try:
        asyncio.run(_serve(_parse_arguments()))
    except (ConfigError, StartupError) as error:
        print(error, file=sys.stderr)
        return 2
    except WorkersLostError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
