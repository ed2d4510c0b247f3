"""The command `headrace load`; what it does lies in `compose/load/`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from compose.errors import StackNotRunningError, ThresholdMissedError

if TYPE_CHECKING:
    from compose.load.process import Plan
    from compose.load.tally import Tally


def load(
    rps: Annotated[float, typer.Option("--rps", min=0.1, max=100_000, help="Calls a second.")] = 20.0,
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, max=86_400, help="How long.")] = 10.0,
    arrival: Annotated[
        Literal["poisson", "constant"], typer.Option(help="Like a crowd (poisson), or evenly spaced.")
    ] = "poisson",
    users: Annotated[int, typer.Option("--users", min=1, max=1_000_000, help="Made-up users to ask for.")] = 1000,
    users_file: Annotated[Path | None, typer.Option("--users-file", help="Real ones: one id a line.")] = None,
    num: Annotated[int, typer.Option("--num", min=1, max=500, help="Items wanted.")] = 10,
    surface: Annotated[
        str, typer.Option(help="A surface of headrace.yaml; `probe` leaves no trace, others teach the model.")
    ] = "probe",
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Client processes.")] = 1,
    deadline_ms: Annotated[float, typer.Option("--deadline-ms", min=1, max=60_000, help="Of each call.")] = 1000.0,
    warm_up: Annotated[float, typer.Option("--warm-up-s", min=0, help="First seconds that do not count.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 7,
    max_p99_ms: Annotated[float | None, typer.Option("--max-p99-ms", min=0, help="Else exit code 12.")] = None,
    max_error_share: Annotated[
        float | None, typer.Option("--max-error-share", min=0, max=1, help="Else exit code 12.")
    ] = None,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for lists at a rate that no slow answer lowers, and tell the latencies from when each call was due."""
    from compose.load.calls import Questions
    from compose.load.process import Plan
    from compose.load.report import Thresholds, is_late, print_report, to_json
    from compose.load.users import made_up_users, users_of_file
    from compose.serving_access import ServingAccess, client_tls
    from features.security.role import Role

    where = addresses(state, endpoints)
    if not where.serving:
        raise StackNotRunningError("the endpoints name no server; `headrace up` starts one")
    access = ServingAccess.of(where, Role.RECOMMEND, token_file)
    known = users_of_file(users_file) if users_file else made_up_users(users)
    questions = Questions(
        (where.serving,), known, num, surface, deadline_ms / 1e3, access.metadata, client_tls(access.tls)
    )
    plan = Plan(questions, arrival, rps, seconds, warm_up, deadline_ms / 1e3, seed)
    tally = _run(plan, processes)
    if not tally.codes["OK"]:
        raise StackNotRunningError(f"no call of {tally.calls} was answered at {where.serving}: {dict(tally.codes)}")
    missed = Thresholds(max_p99_ms, max_error_share).missed(tally)
    found = to_json(plan, processes, tally, missed)
    if as_json:
        print_json(found)
    else:
        print_report(found)
    if is_late(tally):
        print("headrace: calls were sent late: give --processes more, or take another machine", file=sys.stderr)
    if missed:
        raise ThresholdMissedError("; ".join(missed))


def _run(plan: Plan, processes: int) -> Tally:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from compose.load.run import run_load

    columns = (TextColumn("calls"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("calls", total=int(plan.rate * plan.seconds))
        return run_load(plan, processes, lambda calls: progress.update(bar, completed=calls))
