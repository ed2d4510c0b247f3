"""Compile the jobs and hand them to a running cluster: the only module that talks to pyflink.

One client process submits both, because starting a client costs more than a submission.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment
from pyflink.util.exceptions import JavaException

from features.whole_file import replace_file
from streams.compiled_plan import with_retention
from streams.config import StreamsConfig
from streams.errors import ClusterError, JarsMissingError, JobFailedError, RestoreRefusedError
from streams.flink_rest import FlinkRest, root_message
from streams.java_functions import FUNCTIONS, JAR_NAME
from streams.job import SqlJob
from streams.job_files import JobFiles
from streams.restore_failure import is_restore_failure
from streams.sql_text import literal

log = logging.getLogger("streams")


def find_jars(folder: Path) -> list[Path]:
    """Return the jars that the jobs need: the connector below `folder/flink`, our functions below `folder/functions`.

    Raises:
        JarsMissingError: one of them is not there.
    """
    jars = sorted(folder.resolve().glob("*/*.jar"))
    jars = [jar for jar in jars if jar.parent.name in ("flink", "functions")]
    for start in ("flink-sql-connector-kafka", Path(JAR_NAME).stem):
        if not any(jar.name.startswith(start) for jar in jars):
            raise JarsMissingError(f"{folder} holds no {start} jar; run `make setup` or name --jars DIR")
    return jars


def job_settings(
    job: SqlJob, streams: StreamsConfig, rest: FlinkRest, files: JobFiles, jars: list[Path]
) -> dict[str, str]:
    """Return everything about a job that Flink is told outside its SQL."""
    host, _, port = rest.address.rpartition(":")
    return {
        "pipeline.name": job.name,
        "pipeline.jars": ";".join(jar.as_uri() for jar in jars),
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": host,
        "rest.port": port,
        "parallelism.default": str(streams.parallelism),
        "table.local-time-zone": "UTC",
        "pipeline.object-reuse": "true",
        "execution.buffer-timeout.interval": f"{streams.buffer_timeout_ms} ms",
        # Off: with mini-batch the deduplication is no longer insert-only, and OVER behind it does not plan.
        "table.exec.mini-batch.enabled": "false",
        # Plans name tables and leave their addresses to the statements of the day.
        "table.plan.compile.catalog-objects": "IDENTIFIER",
        "table.plan.restore.catalog-objects": "IDENTIFIER",
        # Blocks that several sinks read are planned once; else each sink would parse every record again.
        "table.optimizer.reuse-sub-plan-enabled": "true",
        "state.backend.type": streams.state_backend,
        "execution.checkpointing.interval": f"{streams.checkpoint_interval_ms} ms",
        # State on the heap is written whole: without a pause a large one would be written all the time.
        "execution.checkpointing.min-pause": f"{streams.checkpoint_interval_ms} ms",
        # At least once, an operator of two inputs saves records that came behind the barrier of one of them, and counts
        # them again after a restore: item_exposure and user x category did, under kills.
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.timeout": "60 s",
        "execution.checkpointing.tolerable-failed-checkpoints": "1000",
        # The default keeps state in the JobManager and stops the job at 5 MB.
        "execution.checkpointing.storage": "filesystem",
        "execution.checkpointing.dir": files.checkpoints(job.plan_name).resolve().as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500 ms",
        "restart-strategy.exponential-delay.max-backoff": "5 s",
    }


def submit(job: SqlJob, settings: Mapping[str, str], plan: Path, checkpoint: Path | None) -> str:
    """Submit one job and return its id.

    Args:
        job: tables, views and statements.
        settings: see `job_settings`.
        plan: where the compiled plan is kept; it is compiled and written if it is not there.
        checkpoint: what to go on from; None starts from the earliest records.

    Raises:
        RestoreRefusedError: the checkpoint does not fit, is damaged or is not there.
        StreamsError: the cluster or the plan refuses.
    """
    if checkpoint:
        settings = {**settings, "execution.state-recovery.path": checkpoint.resolve().as_uri()}
    try:
        environment = _environment(job, settings)
        if not plan.exists():
            replace_file(plan, _compile(environment, job).encode())
        client = environment.execute_sql(f"EXECUTE PLAN {literal(str(plan.resolve()))}").get_job_client()
    except (Py4JJavaError, JavaException) as error:
        if checkpoint and is_restore_failure(str(error)):
            raise _refused(job, checkpoint, root_message(str(error))) from error
        raise ClusterError(f"{job.name} was not accepted: {root_message(str(error))}") from error
    if client is None:
        raise ClusterError(f"{job.name} was submitted, but Flink named no job id")
    log.info("%s submitted as %s%s", job.name, client.get_job_id(), f" from {checkpoint}" if checkpoint else "")
    return str(client.get_job_id())


def wait_until_running(
    rest: FlinkRest, job: SqlJob, job_id: str, streams: StreamsConfig, checkpoint: Path | None
) -> None:
    """Wait until the submitted job does its work.

    Raises:
        RestoreRefusedError: its checkpoint is what Flink does not take; the job is cancelled.
        StreamsError: it does not come up.
    """
    try:
        rest.wait_running(job_id, streams.submit_timeout_s, is_restore_failure if checkpoint else None)
    except JobFailedError as error:
        if checkpoint is None or not is_restore_failure(error.trace):
            raise
        if job_id in rest.live_jobs().values():
            rest.cancel(job_id)
        raise _refused(job, checkpoint, str(error)) from error


class SubmissionCluster:
    """A Flink cluster as `streams.job_start` wants it.

    Args:
        rest: its JobManager.
        streams: settings.
        bootstrap: Kafka's servers.
        files: of each job, by its name on the cluster.
        jars: see `find_jars`.
    """

    def __init__(
        self,
        rest: FlinkRest,
        streams: StreamsConfig,
        bootstrap: str,
        files: Mapping[str, JobFiles],
        jars: Sequence[Path],
    ) -> None:
        self._rest = rest
        self._streams = streams
        self._bootstrap = bootstrap
        self._files = files
        self._jars = list(jars)

    def submit(self, job: SqlJob, point: Path | None) -> str:
        """Submit a job and return its id; its statements are kept first."""
        files = self._files[job.name]
        files.keep(job, self._bootstrap)
        settings = job_settings(job, self._streams, self._rest, files, self._jars)
        return submit(job, settings, files.plan(job.plan_name), point)

    def wait_running(self, job: SqlJob, job_id: str, point: Path | None) -> None:
        """Wait until it runs."""
        wait_until_running(self._rest, job, job_id, self._streams, point)


def _refused(job: SqlJob, checkpoint: Path, reason: str) -> RestoreRefusedError:
    return RestoreRefusedError(f"{job.name} does not take {checkpoint} ({reason})")


def _environment(job: SqlJob, settings: Mapping[str, str]) -> TableEnvironment:
    # Read when the client's JVM starts. It lives for seconds: optimising compilers cost it more than they bring.
    os.environ.setdefault("JVM_ARGS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    configuration = Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    builder = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration)
    environment = TableEnvironment.create(builder.build())
    for function in FUNCTIONS:
        environment.execute_sql(function.statement())
    for table in job.tables:
        environment.execute_sql(table)
    for view in job.views:
        # Not CREATE VIEW: a view made of a query object is one object to all its readers, so it is planned once.
        environment.create_temporary_view(view.name, environment.sql_query(view.select))
    return environment


def _compile(environment: TableEnvironment, job: SqlJob) -> str:
    statements = environment.create_statement_set()
    for insert in job.inserts:
        statements.add_insert_sql(insert)
    return with_retention(statements.compile_plan().as_json_string(), job.state_rules)
