"""What a job leaves in the state directory: compiled plan, checkpoints, ids."""

from __future__ import annotations

import json
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

    @property
    def _plan(self) -> Path:
        return self.flink_dir / "plans" / f"{self.job}.json"

    def newest_checkpoint(self) -> Path | None:
        """Return the newest completed checkpoint; one without `_metadata` was never completed."""
        completed = list(self.checkpoints.glob(f"*/chk-*/{_METADATA}"))
        return max(completed, key=lambda path: path.stat().st_mtime_ns).parent if completed else None

    def read_plan(self, fingerprint: str) -> str | None:
        """Return the stored plan if it was compiled from the same statements."""
        try:
            stored = json.loads(self._plan.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return None
        return str(stored["plan"]) if stored.get("fingerprint") == fingerprint else None

    def write_plan(self, fingerprint: str, plan: str) -> None:
        """Store a plan for later submissions: operators' uids, by which a checkpoint is read, stand in it."""
        write_whole(self._plan, json.dumps({"fingerprint": fingerprint, "plan": plan}))


def write_whole(path: Path, text: str) -> None:
    """Write a file that other processes see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
