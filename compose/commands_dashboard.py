"""The command `headrace dashboard`: say where the page of a running stack is, or serve one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses,
    addresses_path,
    print_json,
)
from compose.errors import StackNotRunningError

if TYPE_CHECKING:  # It brings all of the configuration, which no press of the completion key need wait for.
    from features.config import Endpoints

_LOOPBACK = "127.0.0.1"
_PORT = 8088


def dashboard(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Serve a page of its own here.")] = None,
    bind: Annotated[
        str, typer.Option(help="Its host; other machines need TLS and tokens (docs/dashboard.md).")
    ] = _LOOPBACK,
    sign_in: Annotated[
        bool, typer.Option("--sign-in", help="Print a link that signs in with this machine's admin token.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where the page of the running stack is, or serve one until Ctrl-C where none runs or --port names a port."""
    where = addresses(state, endpoints)
    running = where.dashboard if port is None and bind == _LOOPBACK and _answers(where) else ""
    address = running or f"{bind}:{port or _PORT}"
    link = f"{'https' if where.tls else 'http'}://{address}/" + (_signing_in(where.state) if sign_in else "")
    if as_json:
        print_json({"url": link, "is_running": bool(running)})
    else:
        typer.echo(link)
    if running:
        return
    from compose.part import PROJECT_ROOT

    command = [sys.executable, "-m", "compose.dashboard", "--config", str(config)]
    command += ["--endpoints", str(addresses_path(state, endpoints)), "--address", address]
    # This process becomes the dashboard, so that signals reach it; its packages are found from wherever this one ran.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]))
    sys.stdout.flush()
    os.execv(command[0], command)


def _signing_in(state: str) -> str:
    """Return what signs a browser in: the token stands behind `#`, which browsers send to nobody.

    Raises:
        StackNotRunningError: there is no token.
    """
    from features.security.role import Role
    from serving.security.operator_tokens import read_operator_token

    token = read_operator_token(Path(state), Role.ADMIN)
    if not token:
        raise StackNotRunningError(f"no admin token in {state}; `headrace up` makes one")
    return f"#token={token}"


def _answers(where: Endpoints) -> bool:
    """Say whether a dashboard of this machine answers at its address."""
    from compose.ports import is_free
    from compose.probes import http_json

    host, _, port = where.dashboard.rpartition(":")
    if not port.isdigit() or host != _LOOPBACK:
        return False
    if where.tls is not None:
        return not is_free(int(port))
    answer = http_json(int(port), "/healthz", timeout_s=1.0)
    return isinstance(answer, dict) and bool(answer.get("is_up"))
