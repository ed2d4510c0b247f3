"""What a job leaves in the state directory: compiled plan, checkpoints, ids."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from streams.errors import RestoreRefusedError
from streams.job import SqlJob

_METADATA = "_metadata"


@dataclass(frozen=True)
class JobFiles:
    """Files of one job below `STATE/flink`."""

    flink_dir: Path
    job: str
    """`feature_job` or `sample_job`."""

    @property
    def checkpoints(self) -> Path:
        """Directory of the job's checkpoints; each submission adds one folder named by its job id."""
        return self.flink_dir / "checkpoints" / self.job

    def plan(self, fingerprint: str) -> Path:
        """Return where the plan compiled from the statements of this fingerprint is kept.

        Operators' uids, by which a checkpoint is read, stand in the plan: a restore needs the very same one.
        """
        return self.flink_dir / "plans" / f"{self.job}-{fingerprint[:16]}.json"

    def restore_point(self, job: SqlJob) -> Path | None:
        """Return the checkpoint to go on from, None where there is none.

        Raises:
            RestoreRefusedError: there is one, but it was written by another plan.
        """
        checkpoint = self.newest_checkpoint()
        if checkpoint and not self.plan(job.fingerprint()).exists():
            raise RestoreRefusedError(
                f"{job.name} was compiled from other statements than the checkpoint {checkpoint} (configuration or "
                "code changed); submit without --restore to replay the topics from their beginning"
            )
        return checkpoint

    def given_point(self, path: Path) -> Path:
        """Return a savepoint or checkpoint that somebody named.

        Raises:
            RestoreRefusedError: there is none.
        """
        if not (path / _METADATA).is_file():
            raise RestoreRefusedError(f"{path} holds no {_METADATA}: it is neither a savepoint nor a whole checkpoint")
        return path

    def newest_checkpoint(self) -> Path | None:
        """Return the newest completed checkpoint; one without `_metadata` was never completed."""
        completed = list(self.checkpoints.glob(f"*/chk-*/{_METADATA}"))
        return max(completed, key=lambda path: path.stat().st_mtime_ns).parent if completed else None


def write_whole(path: Path, text: str) -> None:
    """Write a file that other processes see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
