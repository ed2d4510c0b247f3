"""`headrace streams`: upgrade the feature set, write savepoints, go on from one.

What needs Kafka's client is imported where it is used: the other verbs of `headrace` should not wait for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses_path,
)
from compose.errors import StackError, StackNotRunningError
from features.config import load_app_config, load_endpoints
from streams.errors import StreamsError
from streams.flink_rest import FlinkRest
from streams.job_files import JobFiles

streams_app = typer.Typer(help="The Flink jobs: upgrade, savepoint, restore.", no_args_is_help=True)

JobOption = Annotated[Literal["feature", "sample"], typer.Argument(help="Which job.")]


@streams_app.command()
def upgrade(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    accept_missing_history: Annotated[
        bool, typer.Option("--accept-missing-history", help="Build from what Kafka still has of the events.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to catch up with the events.")] = 3600.0,
    as_json: JsonOption = False,
) -> None:
    """Build a changed feature set beside the running one, compare, and switch; refused where rows would be lost."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from compose.streams_upgrade import StreamsUpgrade

    path = addresses_path(state, endpoints).resolve()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        steps = StreamsUpgrade(config.resolve(), path, load_endpoints(path), lambda step: console.print(f"  {step}"))
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("events read by the new job", total=None)
            summary = steps.run(
                lambda read, total: progress.update(bar, completed=read, total=total), accept_missing_history, timeout
            )
    except StreamsError as error:
        raise StackError(str(error)) from error
    typer.echo(json.dumps(summary.to_json(), indent=2) if as_json else summary.sentence())


@streams_app.command()
def savepoint(
    job: JobOption,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the job with it.")] = False,
) -> None:
    """Write a savepoint of a running job and print its path."""
    addresses = load_endpoints(addresses_path(state, endpoints).resolve())
    rest = FlinkRest(addresses.flink)
    name = f"{load_app_config(config).name}-{job}-job"
    try:
        running = rest.live_jobs()
        if name not in running:
            raise StackNotRunningError(f"no {name} runs; `headrace up` starts the jobs")
        files = JobFiles(Path(addresses.state) / "flink", f"{job}_job")
        folder = files.savepoints(files.plan_of(running[name])).resolve().as_uri()
        typer.echo(rest.savepoint(running[name], folder, stop, timeout_s=300.0).removeprefix("file:"))
    except StreamsError as error:
        raise StackError(str(error)) from error


@streams_app.command()
def restore(
    job: JobOption,
    path: Annotated[Path, typer.Argument(help="A savepoint or checkpoint of the same compiled plan.")],
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
) -> None:
    """Go on from a savepoint: the running job, if there is one, is cancelled first."""
    places = addresses_path(state, endpoints).resolve()
    rest = FlinkRest(load_endpoints(places).flink)
    name = f"{load_app_config(config).name}-{job}-job"
    if not (path / "_metadata").is_file():
        raise StackError(f"{path} holds no _metadata: it is neither a savepoint nor a whole checkpoint")
    started_s = time.monotonic()
    try:
        running = rest.live_jobs()
        if name in running:
            rest.cancel(running[name])
    except StreamsError as error:
        raise StackError(str(error)) from error
    command = [sys.executable, "-m", "streams", "--config", str(config), "--endpoints", str(places)]
    done = subprocess.run([*command, "--job", job, "--restore-from", str(path)], check=False)
    if done.returncode != 0:
        raise StackError(f"{name} did not go on from {path} (see above); `headrace streams restore` may be tried again")
    typer.echo(f"{name} runs from {path} after {time.monotonic() - started_s:.1f} s")
