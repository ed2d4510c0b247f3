"""The commands `headrace models`, which lists versions, and `headrace models load`."""

from __future__ import annotations

from typing import Annotated

import typer

from compose.cli_options import (
    DEFAULT_STATE,
    EndpointsOption,
    JsonOption,
    StateOption,
    TokenFileOption,
    addresses,
    print_json,
)

models_app = typer.Typer(help="List the model versions that the server knows, or load one.")


def parse_share(text: str) -> float:
    """Return a share of users from `5%` or `0.05`.

    Raises:
        BadParameter: it is neither, or not between 0 and 1.
    """
    try:
        share = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        share = -1.0
    if not 0.0 < share < 1.0:
        raise typer.BadParameter(f"{text!r} is no share of users; write for example 5% or 0.05")
    return share


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the model versions that the server knows; `load` serves one of them."""
    if context.invoked_subcommand:
        return
    from compose.serving_client import AdminClient
    from compose.serving_tables import print_models, to_json

    versions = AdminClient(addresses(state, endpoints), token_file).list_models()
    if as_json:
        print_json([to_json(version) for version in versions])
    else:
        print_models(versions)


@models_app.command("load")
def load(
    version: Annotated[str, typer.Argument(help="EPOCH.SEQ that is kept.")],
    canary: Annotated[
        str,
        typer.Option(
            "--canary",
            metavar="SHARE",
            help="Serve it to this share of the users first, for example 5% (docs/serving.md).",
        ),
    ] = "",
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a version now and follow on behind it; with --canary to some users first, then to all or none by itself."""
    share = parse_share(canary) if canary else 0.0
    from compose.serving_client import AdminClient
    from compose.serving_tables import to_json

    status = AdminClient(addresses(state, endpoints), token_file).load(version, share)
    if as_json:
        print_json(to_json(status))
    elif share:
        typer.echo(f"{version} serves {share:.2%} of the users; see `headrace ab status` and `headrace status`")
    else:
        typer.echo(f"the server serves {status.version}")
