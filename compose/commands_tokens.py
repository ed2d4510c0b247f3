"""The command `headrace tokens`: who may call the server; what it does lies in `serving/security/token_keeper.py`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    DryRunOption,
    JsonOption,
    StateOption,
    print_json,
)
from features.config import ConfigError, load_section
from features.security.role import Role

if TYPE_CHECKING:  # The server's configuration takes a second to import, which other verbs need not wait for.
    from features.security.tokens import Token
    from serving.security.token_keeper import TokenKeeper

_DAY_S = 86400.0

tokens_app = typer.Typer(
    help="Tokens of the server's callers: only digests are kept, and running servers follow.", no_args_is_help=True
)


@tokens_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who holds it; two tokens of one name and role are valid at a time.")],
    role: Annotated[Role, typer.Option(help="What it is good for.")] = Role.RECOMMEND,
    days: Annotated[float | None, typer.Option(min=0.0, help="Days until it expires; never by default.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write it into this new file, mode 0600, instead of printing it.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, this once: nobody can read it again."""
    if output is not None and output.exists():
        raise ConfigError(f"{output} exists already; name a new file with --output")
    secret, token = _keeper(config, state).create(name, role, None if days is None else days * _DAY_S)
    if output is None:
        if as_json:
            print_json(_to_json(token) | {"token": secret})
        else:
            typer.echo(secret)
    else:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secret + "\n")
        if as_json:
            print_json(_to_json(token) | {"file": str(output)})
    typer.echo(f"token {token.token_id} of {name!r}, role {role}, {_ends(token)}", err=True)


@tokens_app.command("list")
def list_tokens(
    config: ConfigOption = DEFAULT_CONFIG, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False
) -> None:
    """List tokens by name, role, id and expiry."""
    tokens = _keeper(config, state).tokens()
    if as_json:
        print_json([_to_json(token) for token in tokens])
        return
    for token in tokens:
        typer.echo(f"{token.token_id}  {token.role:9}  {_ends(token):28}  {token.name}")
    if not tokens:
        typer.echo("no tokens; on loopback anybody may ask for lists")


@tokens_app.command("revoke")
def revoke(
    name_or_id: Annotated[str, typer.Argument(help="A name, for all its tokens, or the id of one.")],
    dry_run: DryRunOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Forget tokens; servers refuse them within a second."""
    keeper = _keeper(config, state)
    tokens = keeper.matching(name_or_id) if dry_run else keeper.revoke(name_or_id)
    if as_json:
        print_json({"dry_run": dry_run, "revoked": [_to_json(token) for token in tokens]})
        return
    for token in tokens:
        typer.echo(f"{'would revoke' if dry_run else 'revoked'} {token.token_id} of {token.name!r}, role {token.role}")


@tokens_app.command("rotate-request-key")
def rotate_request_key(
    config: ConfigOption = DEFAULT_CONFIG, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False
) -> None:
    """Make a new key for request tokens; servers sign with it within a second, older tokens hold until they expire.

    A key that leaked is of no use once they have.
    """
    from features.request_keys import add_request_key
    from features.request_token_config import RequestTokensConfig

    section = load_section(config, "request_tokens", RequestTokensConfig)
    key = add_request_key(section.keys_path(state))
    if as_json:
        print_json({"key": key.id, "is_enabled": section.is_enabled})
    else:
        typer.echo(f"request tokens are signed with key {key.id} from now on")
    if not section.is_enabled:
        typer.echo("request_tokens.is_enabled is false in the configuration: no server signs", err=True)


def _keeper(config: Path, state: Path) -> TokenKeeper:
    from serving.config import ServingConfig
    from serving.security.token_keeper import TokenKeeper

    security = load_section(config, "serving", ServingConfig).security
    return TokenKeeper(security.tokens_path(state))


def _ends(token: Token) -> str:
    if not token.expires_ms:
        return "never expires"
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(token.expires_ms / 1000.0))
    return f"{'expired' if token.has_expired(time.time_ns() // 1_000_000) else 'expires'} {moment}"


def _to_json(token: Token) -> dict[str, Any]:
    return {"id": token.token_id, "name": token.name, "role": token.role, "expires_ms": token.expires_ms}
