"""The command `headrace forget`: a user goes from everything that is kept; what it does lies in `compose/forget.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses_path,
    print_json,
)
from compose.commands_purge import (
    DryRunOption,
    FeaturesOption,
    MissingHistoryOption,
    ReasonOption,
    TimeoutOption,
    YesOption,
)
from compose.errors import StackError
from features.config import load_endpoints
from streams.errors import StreamsError


def forget(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    reason: ReasonOption = "",
    features: FeaturesOption = True,
    accept_missing_history: MissingHistoryOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    timeout: TimeoutOption = 3600.0,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a user: rows, history, embedding, dead letters, feature log; docs/forget.md says what stays until when."""
    from rich.console import Console

    from compose.forget import Forget
    from compose.upgrade_progress import upgrade_progress

    console = Console(stderr=True)
    path = addresses_path(state, endpoints).resolve()
    steps = Forget(config.resolve(), path, load_endpoints(path), lambda step: console.print(f"  {step}"))
    summary = steps.look(user)
    if not dry_run:
        if not (yes or typer.confirm("forget this user? This cannot be taken back", err=True)):
            raise typer.Exit(1)
        try:
            with upgrade_progress(console) as show:
                summary = steps.run(user, reason, features, accept_missing_history, timeout, show)
        except StreamsError as error:
            raise StackError(str(error)) from error
    if as_json:
        print_json(summary.to_json())
    else:
        typer.echo(summary.sentence())
