"""`headrace streams`: bring a changed configuration into the jobs, write savepoints, go on from one.

What needs Kafka's client is imported where it is used: the other verbs of `headrace` should not wait for it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    DryRunOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses_path,
    print_json,
)
from compose.errors import StackError
from compose.job_control import JobControl, JobKind, submitter
from features.config import load_app_config, load_endpoints
from streams.errors import StreamsError
from streams.flink_rest import FlinkRest
from streams.job_files import JobFiles

streams_app = typer.Typer(help="The Flink jobs: upgrade, savepoint, restore.", no_args_is_help=True)

JobOption = Annotated[JobKind, typer.Argument(help="Which job.")]


@streams_app.command()
def upgrade(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    accept_missing_history: Annotated[
        bool, typer.Option("--accept-missing-history", help="Build from what Kafka still has.")
    ] = False,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="Switch even where both jobs' rows differ; they are counted.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to catch up with the events.")] = 3600.0,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build each changed job beside the running one, compare, and switch; refused where counters would be lost."""
    from rich.console import Console

    from compose.changed_jobs import changed_jobs
    from compose.streams_upgrade import StreamsUpgrade
    from compose.upgrade_progress import upgrade_progress

    path = addresses_path(state, endpoints).resolve()
    if dry_run:
        jobs = changed_jobs(config.resolve(), load_endpoints(path))
        told = f"would build anew and switch: the {' and the '.join(jobs)} job" if jobs else "nothing to upgrade"
        if as_json:
            print_json({"dry_run": True, "jobs": jobs})
        else:
            typer.echo(told)
        return
    console = Console(stderr=True)
    try:
        steps = StreamsUpgrade(config.resolve(), path, load_endpoints(path), lambda step: console.print(f"  {step}"))
        with upgrade_progress(console) as show:
            summary = steps.run(show, timeout, accept_missing_history, accept_differences)
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
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a savepoint of a running job and print its path."""
    control = _control(job, config, addresses_path(state, endpoints).resolve())
    try:
        if dry_run:
            running = control.running_id()
            did = "end" if stop else "go on with"
            _tell(
                {"dry_run": True, "job": control.name, "id": running}, f"would write and {did} {control.name}", as_json
            )
            return
        path = str(control.savepoint(stop))
        _tell({"job": control.name, "path": path, "stopped": stop}, path, as_json)
    except StreamsError as error:
        raise StackError(str(error)) from error


@streams_app.command()
def restore(
    job: JobOption,
    path: Annotated[Path, typer.Argument(help="A savepoint or checkpoint of this job.")],
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on from a savepoint, as the job that wrote it; where that fails, the running job goes on as it was."""
    places = addresses_path(state, endpoints).resolve()
    control = _control(job, config, places)
    started_s = time.monotonic()
    try:
        point = control.files.point_at(path)
        if point.plan:
            control.files.kept(point.plan, load_endpoints(places).kafka_servers)  # Before anything is stopped.
        if dry_run:
            is_running = control.is_running()
            told = f"would {'stop it and ' if is_running else ''}start {control.name} from {path}"
            _tell({"dry_run": True, "job": control.name, "is_running": is_running, "path": str(path)}, told, as_json)
            return
        if control.is_running():
            with control.stopped():
                control.submit("--restore-from", str(path.resolve()))
        else:
            control.submit("--restore-from", str(path.resolve()))
    except StreamsError as error:
        raise StackError(str(error)) from error
    took_s = time.monotonic() - started_s
    told = f"{control.name} runs from {path} after {took_s:.1f} s"
    _tell({"job": control.name, "path": str(path), "seconds": round(took_s, 1)}, told, as_json)


def _tell(data: dict[str, object], sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        typer.echo(sentence)


def _control(job: JobKind, config: Path, places: Path) -> JobControl:
    addresses = load_endpoints(places)
    files = JobFiles(Path(addresses.state) / "flink", f"{job}_job")
    name = f"{load_app_config(config).name}-{job}-job"
    return JobControl(name, files, FlinkRest(addresses.flink), submitter(config.resolve(), places, job))
