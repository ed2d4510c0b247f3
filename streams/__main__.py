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
from streams.config import StreamsConfig
from streams.errors import ClusterError, StreamsError
from streams.flink_rest import FlinkRest
from streams.job import SqlJob
from streams.job_files import JobFiles, write_whole
from streams.jobs.feature_job import feature_job
from streams.jobs.sample_job import sample_job
from streams.token_check import TokenCheck, load_token_check

JOBS = ("feature_job", "sample_job")
_DEFAULT_JARS = Path(__file__).resolve().parent.parent / ".jars"

log = logging.getLogger("streams")


def build_job(
    name: str, app: AppConfig, labels: Labels, streams: StreamsConfig, bootstrap: str, tokens: TokenCheck | None = None
) -> SqlJob:
    """Return the job named `sample_job`, `feature_job`, or `feature_job` with a suffix."""
    if name == "sample_job":
        return sample_job(app, labels, streams, bootstrap, tokens)
    return feature_job(app, streams, bootstrap, name.removeprefix("feature_job"), tokens)


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
    jobs = {name: build_job(name, app, labels, streams, endpoints.kafka, tokens) for name in names}
    ids = _submit_missing(jobs, streams, rest, flink_dir, options)
    write_whole(flink_dir / "jobs.json", json.dumps(_known_ids(flink_dir) | ids))
    return ids


def _submit_missing(
    jobs: dict[str, SqlJob], streams: StreamsConfig, rest: FlinkRest, flink_dir: Path, options: argparse.Namespace
) -> dict[str, str]:
    live = rest.wait_live_jobs(streams.submit_timeout_s)
    ids = {name: live[job.name] for name, job in jobs.items() if job.name in live}
    for name, job_id in ids.items():
        log.info("%s runs already as %s", jobs[name].name, job_id)
    if len(ids) == len(jobs):
        return ids
    missing = {name: job for name, job in jobs.items() if name not in ids}
    files = {name: JobFiles(flink_dir, name) for name in missing}
    restore_points: dict[str, Path | None] = {}
    if options.restore_from:
        restore_points = dict.fromkeys(missing, files[next(iter(missing))].given_point(options.restore_from))
    elif options.restore:
        restore_points = {name: files[name].restore_point(job) for name, job in missing.items()}
    # Here, because importing pyflink and starting its JVM takes seconds, and nothing above needs them.
    from streams.submission import find_jars, job_settings, submit, wait_until_running

    jars = find_jars(options.jars)
    for name, job in missing.items():
        settings = job_settings(job, streams, rest, files[name], jars)
        ids[name] = submit(job, settings, files[name].plan(job.fingerprint()), restore_points.get(name))
    for name, job in missing.items():
        wait_until_running(rest, job, ids[name], streams, restore_points.get(name))
    return ids


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
    parser.add_argument("--restore", action="store_true", help="go on from the newest retained checkpoint")
    parser.add_argument(
        "--restore-from", type=Path, metavar="DIR", help="go on from this savepoint or checkpoint; names one --job"
    )
    parser.add_argument(
        "--suffix", default="", help="with --job feature: beside the running one, onto topics and files named so"
    )
    parser.add_argument("--jars", type=Path, default=_DEFAULT_JARS, help="folder of the jars, as `make setup` fills it")
    options = parser.parse_args(arguments)
    if options.restore_from and options.job == "all":
        parser.error("--restore-from belongs to one job; name it with --job feature or --job sample")
    if options.suffix and options.job != "feature":
        parser.error("--suffix is for the feature job; add --job feature")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for chatty in ("apache_beam", "pyflink"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started_s = time.monotonic()
    try:
        ids = submit_jobs(options)
    except ConfigError as error:
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
