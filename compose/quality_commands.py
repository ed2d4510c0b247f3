"""The commands `headrace quality list|release|drop`; what they do lies in `compose/quality.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    DryRunOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses,
    print_json,
)
from features.config import load_app_config

if TYPE_CHECKING:
    from compose.quality import QualityDesk

quality_app = typer.Typer(help="Windows of data that are held from training.", no_args_is_help=True)

WindowArgument = Annotated[str, typer.Argument(help="Start of the window as `quality list` prints it, or in ms.")]
UntilOption = Annotated[str, typer.Option("--until", help="Also every later held window up to this one.")]


@quality_app.command("list")
def quality_list(
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest windows shown.")] = 100,
    include_all: Annotated[bool, typer.Option("--all", help="Also windows that were never held.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the windows that are held, or that somebody decided on, and why."""
    from compose.quality import print_windows, to_json

    windows = _desk(config, state, endpoints).windows(limit, include_all)
    if as_json:
        print_json(to_json(windows))
    else:
        print_windows(windows)


@quality_app.command("release")
def quality_release(
    window: WindowArgument,
    until: UntilOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let held windows teach: the trainer reads their samples again, and they count as normal from now on."""
    _decide("release", window, until, _desk(config, state, endpoints), dry_run, as_json)


@quality_app.command("drop")
def quality_drop(
    window: WindowArgument,
    until: UntilOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give held windows up: their samples never teach. This cannot be taken back."""
    _decide("drop", window, until, _desk(config, state, endpoints), dry_run, as_json)


def _decide(what: str, window: str, until: str, desk: QualityDesk, dry_run: bool, as_json: bool) -> None:
    from compose.quality import ORDERS, parse_window, to_json

    first_ms = parse_window(window)
    decided = desk.order(ORDERS[what], first_ms, parse_window(until) if until else first_ms, dry_run)
    if as_json:
        print_json(to_json(decided))
    else:
        names = [report.window for report in decided]
        span = names[0] if len(names) == 1 else f"{len(names)} windows from {names[0]} to {names[-1]}"
        typer.echo(f"{what} {'would be' if dry_run else 'is'} ordered for {span}")


def _desk(config: Path, state: Path, endpoints: Path | None) -> QualityDesk:
    from compose.quality import QualityDesk  # Kafka only where it is used.

    return QualityDesk(addresses(state, endpoints).kafka_servers, load_app_config(config).name)
