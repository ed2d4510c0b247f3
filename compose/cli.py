"""The `headrace` command line. Heavy parts (torch, feast, pyflink) run in processes of their own, never in this one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

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
from compose.commands_ab import ab_app
from compose.commands_batches import batches_app
from compose.commands_completion import completion, teach_shells
from compose.commands_dashboard import dashboard
from compose.commands_dlq import dlq_app
from compose.commands_evaluate import evaluate
from compose.commands_events import backfill, replay
from compose.commands_forget import forget
from compose.commands_init import init
from compose.commands_load import load
from compose.commands_models import models_app
from compose.commands_plan import plan
from compose.commands_purge import purge
from compose.commands_serving import pin, recommend, reload, rollback, serve, unpin
from compose.commands_tokens import tokens_app
from compose.commands_train import TRAIN_EPILOG, train
from compose.errors import EXIT_CODES, StackError
from compose.quality_commands import quality_app
from compose.streams_commands import streams_app
from features.config import ConfigError, load_endpoints

_BAD_CONFIGURATION = 2

app = typer.Typer(
    name="headrace",
    help="A recommender that learns while people use it.",
    epilog=EXIT_CODES.replace("\n", " "),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
topics_app = typer.Typer(help="Kafka topics of the loop.", no_args_is_help=True)
features_app = typer.Typer(help="Feast definitions.", no_args_is_help=True)
app.add_typer(streams_app, name="streams")
app.add_typer(topics_app, name="topics")
app.add_typer(features_app, name="features")
app.add_typer(quality_app, name="quality")

app.add_typer(ab_app, name="ab")
app.add_typer(models_app, name="models")
app.add_typer(dlq_app, name="dlq")
app.add_typer(batches_app, name="batches")
app.add_typer(tokens_app, name="tokens")
app.command()(init)
app.command()(replay)
app.command()(backfill)
app.command()(evaluate)
app.command()(purge)
app.command()(forget)
app.command(epilog=TRAIN_EPILOG)(train)
for _verb in (plan, load, completion, serve, dashboard, recommend, reload, rollback, pin, unpin):
    app.command()(_verb)


@app.command()
def up(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    ports: Annotated[
        Literal["default", "auto"], typer.Option(help="Those of the `stack` section, or free ones.")
    ] = "default",
    endpoints: Annotated[
        Path | None, typer.Option("--endpoints", help="Write the addresses here too, once the stack is up.")
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON; progress to stderr.")] = False,
    changed_jobs: Annotated[
        Literal["replay", "keep", "rebuild"],
        typer.Option(
            help="Where configuration or code changed a Flink job: replay all events (refused where Kafka no longer "
            "has them), keep the job as it was, or rebuild from what Kafka has."
        ),
    ] = "replay",
) -> None:
    """Start the local stack, wait until all of it is ready, and return; `headrace down` ends it."""
    from compose.up_command import bring_up

    raise typer.Exit(bring_up(config.resolve(), state.resolve(), ports, endpoints, foreground, changed_jobs, as_json))


@app.command()
def down(state: StateOption = DEFAULT_STATE, dry_run: DryRunOption = False, as_json: JsonOption = False) -> None:
    """End the stack, also what a killed one left behind."""
    from compose.daemon import stop_daemon, what_would_end

    if dry_run:
        ends = what_would_end(state.resolve())
        if as_json:
            print_json({"dry_run": True, "ends": [{"name": name, "pid": pid} for name, pid in ends]})
        else:
            typer.echo("would end " + ", ".join(f"{name} ({pid})" for name, pid in ends))
        return
    did = stop_daemon(state.resolve())
    if as_json:
        print_json({"dry_run": False, "did": did})
    else:
        typer.echo(did)


@app.command()
def demo(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    events: Annotated[int, typer.Option(help="Events to replay.")] = 15_000,
    speed: Annotated[float, typer.Option(help="Times one action per user and second.")] = 1.0,
    data: Annotated[
        Path | None, typer.Option(help="Events file (parquet, JSON lines or CSV) instead of ML-100k.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the summary here as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up at the end.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also popularity, counters only and a frozen model, with intervals.")
    ] = False,
    freeze_model: Annotated[
        bool, typer.Option("--freeze-model", help="Stop following versions after the first 20 % of the events.")
    ] = False,
    endpoints: Annotated[Path | None, typer.Option(help="Use this running stack instead of starting one.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the summary only.")] = False,
    visitors: Annotated[float, typer.Option(help="Lists that simulated visitors ask for per second.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Seeds pacing, visitors and the bootstrap.")] = 7,
) -> None:
    """Replay a real data set as a living app against the whole loop, and sum up what it learnt."""
    from compose.demo.app import run_demo
    from compose.demo.options import DemoOptions

    options = DemoOptions(
        config_path=config,
        state_dir=state,
        events=events,
        speed=speed,
        data=data,
        json_path=json_path,
        keep=keep,
        compare=compare,
        freeze_model=freeze_model,
        endpoints_path=endpoints,
        quiet=quiet,
        visitors_per_s=visitors,
        seed=seed,
    )
    raise typer.Exit(run_demo(options))


@app.command()
def status(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Show parts, processes, restarts, Flink jobs, lags and the live model version."""
    from compose.status import collect_status, print_status

    report = collect_status(state.resolve())
    if as_json:
        print_json(report.to_json())
    else:
        print_status(report)


@app.command()
def doctor(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name what is missing, damaged or busy, and how to mend it; exit code 1 if anything is.

    Looks at this machine; where a stack runs in --state, or --endpoints names one elsewhere, also at that: versions,
    schemas, jobs, the server's clock against the broker's, lag, certificates, modes of token and key files.
    """
    from compose.config import load_stack_config
    from compose.doctor import examine, print_findings
    from compose.local_stack import is_stack_running
    from features.config import load_app_config, load_section
    from features.model_store_config import ModelStoreConfig

    store = load_section(config, "model_store", ModelStoreConfig)
    findings = examine(state.resolve(), load_stack_config(config).ports, store, load_app_config(config).name)
    if endpoints is not None or is_stack_running(state.resolve()):
        from compose.doctor_running import examine_running

        findings += examine_running(config, addresses(state, endpoints), time.time_ns() // 1_000_000)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        print_findings(findings)
    raise typer.Exit(0 if all(finding.is_ok for finding in findings) else 1)


@topics_app.command("create")
def topics_create(
    state: StateOption = DEFAULT_STATE, endpoints: EndpointsOption = None, as_json: JsonOption = False
) -> None:
    """Create the topics that do not exist yet, each with its own limits."""
    from compose.topics import TOPICS, create_topics

    created = create_topics(addresses(state, endpoints).kafka_servers)
    if as_json:
        print_json({"created": created, "were_there": len(TOPICS) - len(created)})
        return
    typer.echo(f"{len(created)} topics created, {len(TOPICS) - len(created)} were there")


@features_app.command("apply")
def features_apply(
    config: ConfigOption = DEFAULT_CONFIG, state: StateOption = DEFAULT_STATE, endpoints: EndpointsOption = None
) -> None:
    """Register entities, views and services with Feast, from an explicit list."""
    path = endpoints or state / "endpoints.json"
    load_endpoints(path)
    command = [sys.executable, "-m", "features.apply", "--config", str(config), "--endpoints", str(path)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@features_app.command("catalogue")
def features_catalogue(
    config: ConfigOption = DEFAULT_CONFIG,
    output: Annotated[Path | None, typer.Option("--output", help="Write it here instead of printing it.")] = None,
) -> None:
    """Print every feature column and ranker input of a configuration as Markdown."""
    from features.catalogue import catalogue
    from features.config import load_app_config

    text = catalogue(load_app_config(config))
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StackError(f"cannot write {output}: {error.strerror}; name another file with --output") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit; every expected error is one sentence and an exit code."""
    teach_shells()
    try:
        app(args=arguments)
    except (StackError, ConfigError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, StackError) else _BAD_CONFIGURATION)


if __name__ == "__main__":
    main()
