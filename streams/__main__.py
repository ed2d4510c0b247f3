"""Submit the feature job and the sample job: `python -m streams --config headrace.yaml --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from features.config import AppConfig, ConfigError, load_app_config, load_endpoints, load_section
from features.label_config import Labels, load_labels
from features.logs import set_up_logs
from features.whole_file import replace_file
from streams.config import StreamsConfig
from streams.errors import ClusterError, HistoryLostError, StreamsError
from streams.exclusions import NOTHING_EXCLUDED, Exclusions, load_exclusions
from streams.flink_rest import FlinkRest
from streams.input_history import read_history
from streams.job import SqlJob
from streams.job_files import JobFiles
from streams.job_start import CHANGED_JOBS, JobStart, bring_up, choose_start
from streams.jobs.feature_job import feature_job
from streams.jobs.sample_job import sample_job
from streams.token_check import TokenCheck, load_token_check

JOBS = ("feature_job", "sample_job")
_DEFAULT_JARS = Path(__file__).resolve().parent.parent / ".jars"

log = logging.getLogger("streams")


def build_job(
    name: str,
    app: AppConfig,
    labels: Labels,
    streams: StreamsConfig,
    bootstrap: str,
    tokens: TokenCheck | None = None,
    exclusions: Exclusions = NOTHING_EXCLUDED,
) -> SqlJob:
    """Return the job named `feature_job` or `sample_job`, with or without a suffix."""
    if name.startswith("sample_job"):
        return sample_job(app, labels, streams, bootstrap, name.removeprefix("sample_job"), tokens)
    return feature_job(app, streams, bootstrap, name.removeprefix("feature_job"), tokens, exclusions)


def submit_jobs(options: argparse.Namespace) -> dict[str, str]:
    """Submit what does not run yet; return the ids of the chosen jobs.

    Raises:
        ConfigError: configuration or endpoints cannot be used.
        StreamsError: the cluster does not take a job.
    """
    app = load_app_config(options.config)
    labels = load_labels(options.config, app)
    streams = load_section(options.config, "streams", StreamsConfig)
    endpoints = load_endpoints(options.endpoints)
    if not endpoints.flink:
        raise ConfigError(f"{options.endpoints}: flink is empty; name the REST address of a JobManager, host:port")
    rest = FlinkRest(endpoints.flink)
    flink_dir = Path(endpoints.state) / "flink"
    names = JOBS if options.job == "all" else (f"{options.job}_job{options.suffix}",)
    tokens = load_token_check(options.config, Path(endpoints.state))
    exclusions = load_exclusions(Path(endpoints.state))
    kafka = endpoints.kafka_servers
    jobs = {name: build_job(name, app, labels, streams, kafka, tokens, exclusions) for name in names}
    live = rest.wait_live_jobs(streams.submit_timeout_s)
    ids = {name: live[job.name] for name, job in jobs.items() if job.name in live}
    for name, job_id in ids.items():
        log.info("%s runs already as %s", jobs[name].name, job_id)
    files = {name: JobFiles(flink_dir, name) for name in jobs if name not in ids}
    if files:
        starts = {name: _start_of(jobs[name], files[name], endpoints.kafka_servers, options) for name in files}
        # Here, because importing pyflink and starting its JVM takes seconds, and nothing above needs them.
        from streams.submission import SubmissionCluster, find_jars

        by_name = {starts[name].job.name: files[name] for name in files}
        cluster = SubmissionCluster(rest, streams, endpoints.kafka_servers, by_name, find_jars(options.jars))
        ids |= bring_up(starts, cluster)
    replace_file(flink_dir / "jobs.json", json.dumps(_known_ids(flink_dir) | ids).encode())
    return {name: ids[name] for name in jobs}


def _start_of(job: SqlJob, files: JobFiles, bootstrap: str, options: argparse.Namespace) -> JobStart:
    if options.restore_from:
        point = files.point_at(options.restore_from)
        if point.plan not in ("", job.plan_name):
            job = files.kept(point.plan, bootstrap)
        return JobStart(job, (point.path,), f"{point.path} was asked for")
    if options.restore:
        return choose_start(job, files, bootstrap, options.changed_jobs, read_history(job, bootstrap))
    return JobStart(job)


def _known_ids(flink_dir: Path) -> dict[str, str]:
    try:
        return dict(json.loads((flink_dir / "jobs.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m streams", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="addresses, as `headrace up` writes them")
    parser.add_argument("--job", choices=("feature", "sample", "all"), default="all")
    parser.add_argument("--restore", action="store_true", help="go on from the newest checkpoint that Flink takes")
    parser.add_argument(
        "--changed-jobs",
        choices=CHANGED_JOBS,
        default="replay",
        help="with --restore, where the newest checkpoint is of another configuration or code: replay all records "
        "(refused where Kafka no longer has them), keep the job as it was, or rebuild from what Kafka has",
    )
    parser.add_argument(
        "--restore-from",
        type=Path,
        metavar="DIR",
        help="go on from this savepoint or checkpoint, as the job that wrote it; names one --job",
    )
    parser.add_argument(
        "--suffix", default="", help="of one --job: beside the running one, onto topics and files named so"
    )
    parser.add_argument("--jars", type=Path, default=_DEFAULT_JARS, help="folder of the jars, as `make setup` fills it")
    options = parser.parse_args(arguments)
    if options.restore_from and options.job == "all":
        parser.error("--restore-from belongs to one job; name it with --job feature or --job sample")
    if options.suffix and options.job == "all":
        parser.error("--suffix belongs to one job; name it with --job feature or --job sample")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exit codes: 0 the jobs run, 1 refused, 2 configuration or state do not fit, 3 no cluster."""
    options = parse_options(arguments)
    set_up_logs("streams", options.config)
    for chatty in ("apache_beam", "kafka", "pyflink"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started_s = time.monotonic()
    try:
        ids = submit_jobs(options)
    except (ConfigError, HistoryLostError) as error:
        print(f"streams: {error}", file=sys.stderr)
        return 2
    except StreamsError as error:
        print(f"streams: {error}", file=sys.stderr)
        return 3 if isinstance(error, ClusterError) else 1
    log.info("jobs run after %.1f s", time.monotonic() - started_s)
    print(f"READY streams {json.dumps(ids)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
