"""The command `headrace models`: which versions there are, and orders about one that is loaded or held."""

from __future__ import annotations

from typing import Annotated

import typer

from compose.cli_options import (
    DEFAULT_STATE,
    DryRunOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    TokenFileOption,
    print_json,
)
from compose.commands_serving import MODEL_STATE_HELD, admin_client, print_order, print_planned

models_app = typer.Typer(
    help="List the model versions that the server knows; load one, or decide about one that the trainer's gate holds."
)


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
    """List the model versions that the server knows; load one, or decide about one that the trainer's gate holds."""
    if context.invoked_subcommand:
        # Options may stand on either side of the subcommand.
        given = {"state": state, "endpoints": endpoints, "token_file": token_file, "as_json": as_json}
        context.default_map = {context.invoked_subcommand: given}
        return
    from compose.serving_tables import print_models, to_json

    versions = admin_client(state, endpoints, token_file).list_models()
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
    from compose.serving_tables import to_json

    status = admin_client(state, endpoints, token_file).load(version, share)
    if as_json:
        print_json(to_json(status))
    elif share:
        typer.echo(f"{version} serves {share:.2%} of the users; see `headrace ab status` and `headrace status`")
    else:
        typer.echo(f"the server serves {status.version}")


@models_app.command()
def release(
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the newest version that the gate holds; the trainer publishes again, from what it has learnt by now."""
    print_order("serves", admin_client(state, endpoints, token_file).release(), as_json)


@models_app.command()
def reject(
    reason: Annotated[str, typer.Option(help="Why, for the audit line, the trainer's log and `headrace models`.")] = "",
    dry_run: DryRunOption = False,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop the newest version that the gate holds; the trainer goes back to what was good and skips samples since."""
    client = admin_client(state, endpoints, token_file)
    if dry_run:
        print_planned(client, "reject", MODEL_STATE_HELD, as_json)
        return
    print_order("rejected", client.reject(reason), as_json)
