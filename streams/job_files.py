"""What a job leaves in the state directory, by plan: compiled plan, statements, checkpoints, savepoints.

    STATE/flink/plans/<job>-<plan>.json         the compiled plan
    STATE/flink/plans/<job>-<plan>.job.json     the statements that it was compiled from
    STATE/flink/checkpoints/<job>/<plan>/<job id>/chk-<n>
    STATE/flink/savepoints/<job>/<plan>/savepoint-<…>

State is read by the operators' uids, which stand in the compiled plan, so a checkpoint without its plan is worth
nothing, and one under another plan would be read into the wrong operators. The folder says which plan it is of.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from features.whole_file import replace_file
from streams.errors import RestoreRefusedError
from streams.job import SqlJob

_METADATA = "_metadata"
_PLAN = 2
"""Place of the plan below `STATE/flink`: `checkpoints/JOB/PLAN/...`, and so for savepoints."""


@dataclass(frozen=True)
class RestorePoint:
    """A savepoint or completed checkpoint."""

    path: Path
    plan: str
    """`SqlJob.plan_name` of the job that wrote it; empty where nobody knows."""


@dataclass(frozen=True)
class JobFiles:
    """Files of one job below `STATE/flink`."""

    flink_dir: Path
    job: str
    """`feature_job` or `sample_job`."""

    @property
    def all_checkpoints(self) -> Path:
        """Folder of the checkpoints of every plan of the job."""
        return self.flink_dir / "checkpoints" / self.job

    def checkpoints(self, plan: str) -> Path:
        """Return the folder of a plan's checkpoints; each submission adds one folder named by its job id."""
        return self.all_checkpoints / plan

    def savepoints(self, plan: str) -> Path:
        """Return the folder of a plan's savepoints."""
        return self.flink_dir / "savepoints" / self.job / plan

    def plan(self, plan: str) -> Path:
        """Return where a compiled plan is kept."""
        return self.flink_dir / "plans" / f"{self.job}-{plan}.json"

    def keep(self, job: SqlJob, bootstrap: str) -> None:
        """Keep the statements of a job, so that it can go on when the configuration says something else."""
        replace_file(self._statements(job.plan_name), job.to_text(bootstrap).encode())

    def kept(self, plan: str, bootstrap: str) -> SqlJob:
        """Return the job that was kept.

        Raises:
            RestoreRefusedError: it was not, or its compiled plan is gone.
        """
        if not (self._statements(plan).is_file() and self.plan(plan).is_file()):
            raise RestoreRefusedError(f"nothing is kept of the plan {plan or '(unknown)'} of {self.job}")
        return SqlJob.from_text(self._statements(plan).read_text(encoding="utf-8"), bootstrap)

    def points(self) -> list[RestorePoint]:
        """Return what the job can go on from, of any plan that is still there, newest first."""
        found = [*self.all_checkpoints.glob(f"*/*/chk-*/{_METADATA}")]
        found += (self.flink_dir / "savepoints" / self.job).glob(f"*/*/{_METADATA}")
        dated = [(_written_ns(path), path.parent) for path in found]
        there = [path for written_ns, path in sorted(dated, reverse=True) if written_ns]
        points = [RestorePoint(path, path.relative_to(self.flink_dir).parts[_PLAN]) for path in there]
        return [point for point in points if self.plan(point.plan).is_file()]

    def point_at(self, path: Path) -> RestorePoint:
        """Return a savepoint or checkpoint that somebody named.

        Raises:
            RestoreRefusedError: there is none, or it is another job's.
        """
        if not (path / _METADATA).is_file():
            raise RestoreRefusedError(f"{path} holds no {_METADATA}: it is neither a savepoint nor a whole checkpoint")
        place = path.resolve()
        folders = (self.flink_dir.resolve() / "checkpoints", self.flink_dir.resolve() / "savepoints")
        inside = next((place.relative_to(folder).parts for folder in folders if folder in place.parents), ())
        if inside and inside[0] != self.job:
            raise RestoreRefusedError(f"{path} is of the {inside[0]}, not of the {self.job}")
        return RestorePoint(path, inside[1] if len(inside) > 1 else "")

    def plan_of(self, job_id: str) -> str:
        """Return the plan that a running job was submitted with; empty where it left no trace here."""
        # Flink makes the folder when the job starts, before its first checkpoint.
        return next((path.parent.name for path in self.all_checkpoints.glob(f"*/{job_id}")), "")

    def forget_other_plans(self, plan: str) -> None:
        """Remove the checkpoints of every plan but this one; savepoints stay, they are the way back."""
        for folder in self.all_checkpoints.glob("*"):
            if folder.name != plan:
                shutil.rmtree(folder, ignore_errors=True)

    def _statements(self, plan: str) -> Path:
        return self.flink_dir / "plans" / f"{self.job}-{plan}.job.json"


def _written_ns(path: Path) -> int:
    """Return when a file was written; 0 where Flink has just taken it away."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
