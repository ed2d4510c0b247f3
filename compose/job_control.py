"""One running Flink job in the hands of a command: which plan it has, and a stop that always has a way back."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from compose.errors import StackError, StackNotRunningError
from streams.errors import ClusterError, StreamsError
from streams.flink_rest import FlinkRest
from streams.job_files import JobFiles

JobKind = Literal["feature", "sample"]
KINDS: tuple[JobKind, ...] = ("feature", "sample")
_SAVEPOINT_S = 300.0

Submit = Callable[..., None]
"""Takes the options of `python -m streams`; raises `StackError` where the job does not run afterwards."""

log = logging.getLogger("headrace")


def submitter(config_path: Path, endpoints_path: Path, kind: JobKind) -> Submit:
    """Return what submits one job in a process of its own: pyflink's JVM is not for this one."""

    def submit(*options: str) -> None:
        places = ["--config", str(config_path), "--endpoints", str(endpoints_path)]
        command = [sys.executable, "-m", "streams", *places, "--job", kind, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise StackError(f"the {kind} job was not accepted: {lines[-1].removeprefix('streams: ')}")

    return submit


class JobControl:
    """One job.

    Args:
        name: its name on the cluster.
        files: what it leaves.
        rest: the JobManager.
        submit: see `submitter`.
    """

    def __init__(self, name: str, files: JobFiles, rest: FlinkRest, submit: Submit) -> None:
        self.name = name
        self.files = files
        self.submit = submit
        self._rest = rest

    def running_id(self) -> str:
        """Return the job's id.

        Raises:
            StackNotRunningError: it does not run, or Flink does not answer.
        """
        running = self._live()
        if self.name not in running:
            raise StackNotRunningError(f"no {self.name} runs; `headrace up` starts the jobs")
        return running[self.name]

    def is_running(self) -> bool:
        """Say whether the job runs.

        Raises:
            StackNotRunningError: Flink does not answer.
        """
        return self.name in self._live()

    def running_plan(self) -> str:
        """Return the plan that it runs; empty where nobody knows.

        Raises:
            StackNotRunningError: see `running_id`.
        """
        return self.files.plan_of(self.running_id())

    def savepoint(self, stop: bool) -> Path:
        """Write a savepoint of the running job.

        Raises:
            StackNotRunningError: see `running_id`.
            ClusterError: Flink does not do it.
        """
        job_id = self.running_id()
        folder = self.files.savepoints(self.files.plan_of(job_id) or "unknown").resolve().as_uri()
        return Path(self._rest.savepoint(job_id, folder, stop, _SAVEPOINT_S).removeprefix("file:"))

    @contextmanager
    def stopped(self) -> Iterator[Path]:
        """Stop the job with a savepoint, whose path it gives; where anything fails inside, the job goes on as it was.

        Raises:
            StackError: what failed, and whether the job goes on.
        """
        point: Path | None = None
        self.running_id()
        try:
            point = self.savepoint(stop=True)
            yield point
        except BaseException as error:
            self._go_on_as_before(point, error)
            raise

    def _live(self) -> dict[str, str]:
        try:
            return self._rest.live_jobs()
        except ClusterError as error:
            raise StackNotRunningError(f"{error}; `headrace up` starts it") from error

    def _go_on_as_before(self, point: Path | None, reason: BaseException) -> None:
        try:
            if self.name in self._rest.live_jobs():
                return
            if point is None:  # It ended without a savepoint that anybody knows of.
                self.submit("--restore", "--changed-jobs", "keep")
            else:
                self.submit("--restore-from", str(point))
        except (StackError, StreamsError) as error:
            raise StackError(
                f"{reason}; and the job of before does not go on: {error}. "
                f"Its state is in {point or 'its checkpoints'}: `headrace down`, then `headrace up --changed-jobs keep`"
            ) from reason
        log.warning("%s goes on as it was", self.name)
