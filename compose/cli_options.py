"""What the commands of `headrace` share: options, addresses, JSON on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from compose.errors import StackNotRunningError
from features.config import Endpoints, load_endpoints

DEFAULT_STATE = Path(".headrace")
DEFAULT_CONFIG = Path("headrace.yaml")

ConfigOption = Annotated[Path, typer.Option("--config", help="The app's configuration.")]
StateOption = Annotated[Path, typer.Option("--state", help="State directory of the stack.")]
EndpointsOption = Annotated[
    Path | None, typer.Option("--endpoints", help="Addresses as JSON; by default those of the stack in --state.")
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the token to send; by default that of the state directory."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def addresses(state: Path, endpoints: Path | None) -> Endpoints:
    """Return the addresses of the stack that the options name.

    Raises:
        StackNotRunningError: there is no such file.
        ConfigError: it cannot be used.
    """
    return load_endpoints(addresses_path(state, endpoints))


def addresses_path(state: Path, endpoints: Path | None) -> Path:
    """Return the file with the addresses that the options name.

    Raises:
        StackNotRunningError: there is no such file.
    """
    path = endpoints or state / "endpoints.json"
    if not path.exists():
        raise StackNotRunningError(f"{path} does not exist; `headrace up` writes it, or name one with --endpoints")
    return path


def print_json(data: Any) -> None:
    """Print JSON as people read it."""
    typer.echo(json.dumps(data, indent=2))
