"""What a job leaves in the state directory: compiled plan, checkpoints, ids."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

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
