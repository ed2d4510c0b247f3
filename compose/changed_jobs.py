"""Whether the running jobs were made from the configuration on disk: what it allows, they may not know yet."""

from __future__ import annotations

from pathlib import Path

from compose.job_control import KINDS, JobKind
from features.config import Endpoints, load_app_config, load_section
from features.label_config import load_labels
from streams.config import StreamsConfig
from streams.errors import ClusterError
from streams.exclusions import Exclusions, load_exclusions
from streams.flink_rest import FlinkRest
from streams.job import SqlJob
from streams.job_files import JobFiles
from streams.jobs.feature_job import feature_job
from streams.jobs.sample_job import sample_job
from streams.token_check import load_token_check


class ConfiguredJobs:
    """The jobs as `headrace.yaml` has them.

    Args:
        config_path: `headrace.yaml`.
        endpoints: Kafka's address stands in the jobs' tables.
        exclusions: what the feature job leaves out, where it is not what the state directory says.
    """

    def __init__(self, config_path: Path, endpoints: Endpoints, exclusions: Exclusions | None = None) -> None:
        self._app = load_app_config(config_path)
        self._labels = load_labels(config_path, self._app)
        self._streams = load_section(config_path, "streams", StreamsConfig)
        self._tokens = load_token_check(config_path, Path(endpoints.state))
        self._exclusions = load_exclusions(Path(endpoints.state)) if exclusions is None else exclusions
        self._kafka = endpoints.kafka_servers

    def job(self, kind: JobKind, suffix: str = "") -> SqlJob:
        """Return a job."""
        if kind == "feature":
            return feature_job(self._app, self._streams, self._kafka, suffix, self._tokens, self._exclusions)
        return sample_job(self._app, self._labels, self._streams, self._kafka, suffix, self._tokens)


def changed_jobs(config_path: Path, endpoints: Endpoints) -> list[JobKind]:
    """Return the running jobs that are known to be made from something else.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    try:
        running = FlinkRest(endpoints.flink).live_jobs()
    except ClusterError:  # Nothing runs: the next start decides by the configuration.
        return []
    configured = ConfiguredJobs(config_path, endpoints)
    changed: list[JobKind] = []
    for kind in KINDS:
        job, files = configured.job(kind), JobFiles(Path(endpoints.state) / "flink", f"{kind}_job")
        plan = files.plan_of(running.get(job.name, ""))
        if plan and plan != job.plan_name:
            changed.append(kind)
    return changed
