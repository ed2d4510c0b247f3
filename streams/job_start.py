"""What each job starts from: its newest checkpoint, an older one, its topics, or nothing at all, decided job by job.

    the newest checkpoint is of this plan     go on from it; where Flink refuses it, from the next older one
    it is of another plan (`changed`)         replay  from the first record, where Kafka still has all that matters
                                              keep    go on as the other plan, whatever the configuration says
                                              rebuild from the first record that Kafka has
    there is none                             from the first record
Where Kafka no longer has what a job was made from, nothing starts empty by itself: counters of years would be gone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from streams.errors import HistoryLostError, RestoreRefusedError
from streams.job import SqlJob
from streams.job_files import JobFiles

if TYPE_CHECKING:  # It brings Kafka's client, which who only names a choice need not wait for.
    from streams.input_history import InputHistory

ChangedJobs = Literal["replay", "keep", "rebuild"]
CHANGED_JOBS: tuple[ChangedJobs, ...] = get_args(ChangedJobs)
KEEP_OPTION, REBUILD_OPTION = "--changed-jobs keep", "--changed-jobs rebuild"

log = logging.getLogger("streams")


@dataclass(frozen=True)
class JobStart:
    """What one job starts from."""

    job: SqlJob
    points: tuple[Path, ...] = ()
    """Tried in this order."""
    why_not_empty: str = ""
    """Why it must not start from the first record when all points are refused; empty where it may."""


class Cluster(Protocol):
    """What starting a job needs of Flink."""

    def submit(self, job: SqlJob, point: Path | None) -> str:
        """Submit a job and return its id; `RestoreRefusedError` where the point does not fit."""

    def wait_running(self, job: SqlJob, job_id: str, point: Path | None) -> None:
        """Wait until it runs; `RestoreRefusedError`, and the job cancelled, where the point does not fit."""


def choose_start(job: SqlJob, files: JobFiles, bootstrap: str, changed: ChangedJobs, history: InputHistory) -> JobStart:
    """Decide what a job starts from.

    Args:
        job: as the configuration has it.
        files: what it left.
        bootstrap: Kafka's servers.
        changed: what to do where the newest checkpoint is of another plan.
        history: what Kafka has of its inputs.

    Raises:
        HistoryLostError: it would have to start empty, and what it had is not in Kafka any more.
        RestoreRefusedError: it is to be kept, but its statements are not there.
    """
    points = files.points()
    plan = points[0].plan if points else job.plan_name
    if changed == "keep" and plan != job.plan_name:
        kept = files.kept(plan, bootstrap)
        log.warning("%s goes on as before: the configuration makes another plan; `headrace streams upgrade`", job.name)
        return JobStart(kept, tuple(point.path for point in points if point.plan == plan), _why_not(history))
    mine = tuple(point.path for point in points if point.plan == plan) if plan == job.plan_name else ()
    if not mine and not history.has_output:
        return JobStart(job)
    why_not = "" if changed == "rebuild" else _why_not(history)
    if mine or not why_not:
        return JobStart(job, mine, why_not)
    reason = "configuration or code changed it" if points else "its checkpoints are gone"
    keep = f"`headrace up {KEEP_OPTION}` goes on as before, then `headrace streams upgrade` changes it; "
    raise HistoryLostError(f"{job.name}: {reason}, but {why_not}. {keep if points else ''}{_rebuild_hint()}")


def bring_up(starts: Mapping[str, JobStart], cluster: Cluster) -> dict[str, str]:
    """Submit all jobs, then wait for each; where a point is refused, go on to the next.

    Raises:
        StreamsError: one cannot start.
    """
    attempts = {name: _Attempt(start, cluster) for name, start in starts.items()}
    for attempt in attempts.values():
        attempt.submit()
    return {name: attempt.run() for name, attempt in attempts.items()}


class _Attempt:
    """One job on its way up."""

    def __init__(self, start: JobStart, cluster: Cluster) -> None:
        self._start = start
        self._cluster = cluster
        self._left: list[Path | None] = [*start.points, *([] if start.why_not_empty else [None])]
        self._point: Path | None = None
        self._id = ""

    def submit(self) -> None:
        """Submit it from the first point that is left and accepted."""
        job = self._start.job
        while self._left:
            self._point = self._left.pop(0)
            try:
                self._id = self._cluster.submit(job, self._point)
            except RestoreRefusedError as error:
                log.warning("%s", error)
            else:
                return
        raise HistoryLostError(
            f"{job.name}: Flink takes none of its {len(self._start.points)} checkpoints and savepoints, but "
            f"{self._start.why_not_empty}. {_rebuild_hint()}"
        )

    def run(self) -> str:
        """Wait until it runs and return its id."""
        while True:
            try:
                self._cluster.wait_running(self._start.job, self._id, self._point)
            except RestoreRefusedError as error:
                log.warning("%s", error)
                self.submit()
            else:
                return self._id


def _why_not(history: InputHistory) -> str:
    return "" if history.is_complete else history.sentence()


def _rebuild_hint() -> str:
    return f"`headrace up {REBUILD_OPTION}` starts it from what Kafka has, without the rest"
