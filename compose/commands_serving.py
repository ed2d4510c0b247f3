"""The commands that run, ask and order the server: `serve`, `recommend`, `reload`, `rollback`, `pin`, `unpin`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    DryRunOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    TokenFileOption,
    addresses,
    addresses_path,
    print_json,
)

MODEL_STATE_HELD = "MODEL_STATE_HELD"
"""As `protos/serving.proto` calls it."""

if TYPE_CHECKING:  # It imports grpc, which a command that does not call the server need not wait for.
    from compose.serving_client import AdminClient


def serve(
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the port; `serving.workers` by default.")
    ] = None,
    address: Annotated[
        str, typer.Option(help="Recommender's host:port; that of --endpoints or `serving.address` by default.")
    ] = "",
    admin_address: Annotated[
        str, typer.Option("--admin-address", help="ModelAdmin's host:port; without it there is none.")
    ] = "",
    name: Annotated[
        str, typer.Option(help="Names the status file STATE/NAME.json and what is kept of orders.")
    ] = "serving",
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
) -> None:
    """Run a server in the foreground until Ctrl-C or SIGTERM; exit code 2 where it cannot start as told."""
    from compose.part import PROJECT_ROOT

    path = addresses_path(state, endpoints)
    command = [sys.executable, "-m", "serving", "--config", str(config), "--endpoints", str(path), "--name", name]
    command += ["--admin-address", admin_address]
    command += ["--workers", str(workers)] if workers else []
    command += ["--address", address] if address else []
    # This process becomes the server, so that signals reach it; its packages are found from wherever this one ran.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]))
    os.execv(command[0], command)


def recommend(
    user: Annotated[str, typer.Argument(help="User id.")],
    num: Annotated[int, typer.Option("--num", min=1, max=500, help="Items wanted.")] = 10,
    surface: Annotated[str, typer.Option(help="A surface of headrace.yaml; `probe` leaves no trace.")] = "probe",
    heads: Annotated[bool, typer.Option("--heads", help="Tell the chance of each head of headrace.yaml.")] = False,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for a user's recommendations."""
    from compose.serving_access import ServingAccess
    from compose.serving_client import recommend as ask
    from compose.serving_tables import print_recommendations, to_json
    from features.security.role import Role

    where = addresses(state, endpoints)
    answer = ask(where.serving, ServingAccess.of(where, Role.RECOMMEND, token_file), user, num, surface, heads)
    if as_json:
        print_json(to_json(answer))
    else:
        print_recommendations(answer)


def reload(
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the server read the newest version again."""
    print_order("serves", admin_client(state, endpoints, token_file).reload(), as_json)


def rollback(
    version: Annotated[str, typer.Argument(help="EPOCH.SEQ; the one before the live one by default.")] = "",
    dry_run: DryRunOption = False,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to an earlier version and stay there until `headrace unpin`."""
    client = admin_client(state, endpoints, token_file)
    if dry_run:
        print_planned(client, f"go back to {version or 'the version before'}, from", "", as_json, version)
        return
    print_order("went back to", client.rollback(version), as_json)


def pin(
    version: Annotated[str, typer.Argument(help="EPOCH.SEQ; the live one by default.")] = "",
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stay at a version until `headrace unpin`."""
    print_order("is pinned at", admin_client(state, endpoints, token_file).pin(version), as_json)


def unpin(
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow new versions again."""
    print_order("follows again, from", admin_client(state, endpoints, token_file).unpin(), as_json)


def admin_client(state: Path, endpoints: Path | None, token_file: Path | None) -> AdminClient:
    """Return what gives orders to the server that the options name.

    Raises:
        StackNotRunningError: there is none.
    """
    from compose.serving_client import AdminClient

    return AdminClient(addresses(state, endpoints), token_file)


def print_order(did: str, status: Any, as_json: bool) -> None:
    """Print what an order did, and which version it is about."""
    from compose.serving_tables import to_json

    if as_json:
        print_json(to_json(status))
    else:
        typer.echo(f"the server {did} {status.version or 'no version'}")


def print_planned(client: AdminClient, would: str, wanted_state: str, as_json: bool, version: str = "") -> None:
    """Say what an order would be about, without giving it.

    Args:
        client: asked for the versions that the server knows.
        would: what would be done.
        wanted_state: the newest version in this state is meant; empty: the live one.
        as_json: print JSON.
        version: that the order names; it must be one that the server knows.

    Raises:
        AdminError: there is no such version.
    """
    from compose.errors import AdminError
    from protos import serving_pb2 as pb

    versions = client.list_models()
    if version and version not in {each.version for each in versions}:
        raise AdminError(f"the server knows no version {version}; `headrace models` lists them")
    for each in reversed(versions):  # The newest first.
        if each.is_live if not wanted_state else pb.ModelState.Name(each.state) == wanted_state:
            if as_json:
                print_json({"dry_run": True, "order": would, "version": each.version})
            else:
                typer.echo(f"would {would} {each.version}")
            return
    raise AdminError(f"no version is {'held' if wanted_state else 'live'}; `headrace models` lists them")
