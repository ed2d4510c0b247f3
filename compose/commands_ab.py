"""The command `headrace ab status`; what it does lies in `compose/ab_status.py`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses,
    print_json,
)

ab_app = typer.Typer(help="Experiments: arms of users, and what they earn.", no_args_is_help=True)


@ab_app.command("status")
def ab_status(
    experiment: Annotated[
        str, typer.Option("--experiment", help="Which one; by default the one that served last.")
    ] = "",
    hours: Annotated[
        float, typer.Option("--hours", min=0.0, help="Only lists of the last hours; 0: all that Kafka still holds.")
    ] = 0.0,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show lists, users and reward a list of every arm, with 95 % intervals and an always-valid p-value.

    Reads served lists and samples from Kafka, where they stay for 7 days.
    """
    from compose.ab_status import print_report, report_experiment
    from compose.experiment_lists import SERVED_TOPIC, read_experiments
    from compose.topic_scan import scan_topic
    from features.config import load_app_config, load_section
    from serving.arms.feedback import SAMPLES_TOPIC
    from serving.config import ServingConfig

    app, serving = load_app_config(config), load_section(config, "serving", ServingConfig)
    kafka = addresses(state, endpoints).kafka_servers
    since_ms = int((time.time() - 3600.0 * hours) * 1000) if hours else None
    served, samples = (
        (record.value for record in scan_topic(kafka, topic, since_ms)) for topic in (SERVED_TOPIC, SAMPLES_TOPIC)
    )
    report = report_experiment(read_experiments(served, samples, app), serving, experiment)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
