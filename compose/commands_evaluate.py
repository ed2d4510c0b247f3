"""The command `headrace evaluate`; what it does lies in `trainer/evaluation/`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compose.cli_options import DEFAULT_CONFIG, ConfigOption
from compose.errors import NotInstalledError, StackError
from compose.held_interrupts import Held, HeldInterrupts

if TYPE_CHECKING:
    from trainer.evaluation.run import Bar, Evaluation

_EVENTS = "Parquet: user_id, item_id, action, event_time_ms; optional value, event_id, request_id."
_SERVED = "Parquet, one row a shown item: request_id, user_id, item_id, position, served_time_ms; optional row."
_ITEMS = "Parquet: item_id; optional title, categories, attributes, published_time_ms, expires_time_ms."


def evaluate(
    events: Annotated[Path, typer.Argument(metavar="EVENTS.parquet", help=_EVENTS)],
    served: Annotated[Path | None, typer.Option("--served", metavar="SERVED.parquet", help=_SERVED)] = None,
    items: Annotated[Path | None, typer.Option("--items", metavar="ITEMS.parquet", help=_ITEMS)] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    score_from: Annotated[
        int, typer.Option("--score-from", min=0, metavar="TIME_MS", help="Learn from everything, score what is later.")
    ] = 0,
    delay: Annotated[
        float, typer.Option("--delay", min=0.0, metavar="S", help="Counters and weights lag by this much stream time.")
    ] = 0.0,
    baseline: Annotated[
        str, typer.Option("--baseline", help="Also popularity, covisitation, river or vw; several with commas.")
    ] = "",
    action: Annotated[
        str | None, typer.Option("--action", help="Action of all events of a file without that column.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first events, in time order.")] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the metrics here as JSON; - prints only them.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="OUT.html", help="Draw the curves: .html or .svg.")
    ] = None,
    ips: Annotated[
        bool,
        typer.Option("--ips", help="Only: reward a list and arm, as shown and without exploration, from --served."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Replay files through the trainer's own code in time order, predict before learn, and print the metrics.

    Needs no running stack. `docs/evaluate.md` says who is scored, on what, and what every figure means.
    """
    if ips:
        _estimate_arms(events, served, config, json_path)
        return
    # The trainer's code needs torch, which takes seconds: only this command pays for it.
    from trainer.evaluation.errors import MissingPackageError
    from trainer.evaluation.picture import check_picture, write_picture
    from trainer.evaluation.run import EvaluateOptions
    from trainer.evaluation.run import evaluate as run

    names = tuple(name.strip() for name in baseline.split(",") if name.strip())
    options = EvaluateOptions(events, config, served, items, action, limit, score_from, delay, names)
    if picture is not None:
        check_picture(picture)
    bar = _no_bar if quiet or not sys.stderr.isatty() else _bar
    try:
        with HeldInterrupts() as interrupts, interrupts.held:
            found = run(options, _letting_interrupts_through(bar, interrupts.held))
    except MissingPackageError as error:
        raise NotInstalledError(str(error)) from error
    for warning in found.warnings:
        typer.echo(f"headrace: {warning}", err=True)
    if picture is not None:
        write_picture(picture, found.outcomes, f"headrace evaluate {events.name}")
    _write_json(found.to_json(), json_path)
    if json_path != Path("-"):
        _print(found)


def _estimate_arms(events: Path, served: Path | None, config: Path, json_path: Path | None) -> None:
    from rich.console import Console

    from trainer.evaluation.errors import EvaluationError
    from trainer.evaluation.inverse_propensity import as_json, estimate_file
    from trainer.evaluation.report import print_arms

    if served is None:
        raise EvaluationError("--ips needs --served SERVED.parquet: the shown lists with their propensities")
    estimates = estimate_file(events, served, config)
    _write_json(as_json(estimates), json_path)
    if json_path != Path("-"):
        print_arms(Console(width=None if sys.stdout.isatty() else 160), estimates)


def _print(found: Evaluation) -> None:
    from rich.console import Console

    from trainer.evaluation.report import print_days, print_outcomes

    console = Console(width=None if sys.stdout.isatty() else 160)
    print_outcomes(console, found.outcomes)
    print_days(console, found.learner)


def _write_json(found: dict[str, Any], path: Path | None) -> None:
    if path is None:
        return
    text = json.dumps(found, indent=2)
    if path == Path("-"):
        typer.echo(text)
        return
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StackError(f"--json: cannot write {path}: {error.strerror}; name another file") from error


def _letting_interrupts_through(bar: Bar, held: Held) -> Bar:
    """Return the same bar, at whose every step Ctrl-C comes through: between two micro-batches."""

    @contextmanager
    def stepwise(what: str, total: int) -> Iterator[Callable[[int], object]]:
        with bar(what, total) as progress:

            def on_step(done: int) -> None:
                progress(done)
                held.let_through()

            yield on_step

    return stepwise


@contextmanager
def _no_bar(_what: str, _total: int) -> Iterator[Callable[[int], object]]:
    yield lambda _done: None


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], object]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
