"""The command `headrace purge`: a window out of what is learnt and counted; what it does lies in `compose/purge.py`."""

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
from compose.errors import StackError
from features.config import load_endpoints
from streams.errors import StreamsError

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit line.")]
FeaturesOption = Annotated[
    bool, typer.Option("--features/--no-features", help="Also build the feature job anew, from what Kafka has.")
]
MissingHistoryOption = Annotated[
    bool,
    typer.Option(
        "--accept-missing-history",
        help="Build it although Kafka no longer has the events that all counters began with.",
    ),
]
TimeoutOption = Annotated[float, typer.Option(min=1, help="Seconds for each long step.")]


def purge(
    start: Annotated[str, typer.Option("--from", help="First broker time: ISO 8601, or milliseconds.")],
    end: Annotated[str, typer.Option("--to", help="End of it, not included.")],
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
    """Take a poisoned window out: learn again without its samples, build the features without its events."""
    from rich.console import Console

    from compose.data_orders import now_ms
    from compose.purge import Purge, checked_window
    from compose.quality import parse_window
    from compose.upgrade_progress import upgrade_progress

    console = Console(stderr=True)
    path = addresses_path(state, endpoints).resolve()
    window = checked_window(parse_window(start), parse_window(end), now_ms())
    steps = Purge(config.resolve(), path, load_endpoints(path), lambda step: console.print(f"  {step}"))
    summary, _ = steps.look(window)
    if not dry_run:
        question = f"purge {summary.events} records of {summary.users} users? This cannot be taken back"
        if not (yes or typer.confirm(question, err=True)):
            raise typer.Exit(1)
        try:
            with upgrade_progress(console) as show:
                summary = steps.run(window, reason, features, accept_missing_history, timeout, show)
        except StreamsError as error:
            raise StackError(str(error)) from error
    if as_json:
        print_json(summary.to_json())
    else:
        typer.echo(summary.sentence())
