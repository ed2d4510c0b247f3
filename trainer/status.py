"""The trainer's status files: `trainer.json` for `headrace status` and the demo, `trainer.prom` for Prometheus.

Both are rewritten every second by one rename; the second is in the text format that a node exporter's textfile
collector reads. A disk that refuses them does not stop the trainer.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from features.whole_file import replace_file
from trainer.batch_log import BatchLog
from trainer.batch_machine import BatchMachine
from trainer.publisher import Publisher
from trainer.read_ahead import PolledLog
from trainer.refused_batches import RefusedBatches
from trainer.replay import ReplayReport
from trainer.sample_log import SAMPLES_TOPIC
from trainer.trainer_metrics import TrainerMetrics

INTERVAL_S = 1.0
logger = logging.getLogger(__name__)


class TrainerReport:
    """What only the loop knows, for the status file.

    Args:
        replay: what was learnt again when this trainer started.
        refused: why checkpoints were not resumed from.
    """

    def __init__(self, replay: ReplayReport, refused: list[str]) -> None:
        self._replay = replay
        self._refused = refused
        self._position = -1
        self._written_s = 0.0
        self._failed = 0
        self._error = ""
        self.reject_error = ""
        """Why a rejection could not be carried out."""
        self.purge_error = ""
        """Why a purge could not."""

    def note_checkpoint(self, position: int) -> None:
        """A checkpoint is written that stands before this entry of the batch log."""
        self._position, self._written_s, self._error = position, time.monotonic(), ""

    def note_failed_checkpoint(self, error: str) -> None:
        """The disk refused a checkpoint."""
        self._failed += 1
        self._error = error

    def status(self) -> dict[str, Any]:
        """Return what the status file tells."""
        age_s = round(time.monotonic() - self._written_s, 1) if self._written_s else -1.0
        checkpoints = {
            "age_s": age_s,
            "position": self._position,
            "failed": self._failed,
            "error": self._error,
            "refused": self._refused,
        }
        errors = {"reject_error": self.reject_error, "purge_error": self.purge_error}
        return {"checkpoints": checkpoints, "replay": vars(self._replay)} | errors


class StatusFile:
    """Writes `STATE/trainer.json`, and `STATE/trainer.prom` beside it.

    Args:
        path: the first.
        refused_batches: counted in it.
        metrics: told to Prometheus.
    """

    def __init__(self, path: Path, refused_batches: RefusedBatches, metrics: TrainerMetrics | None = None) -> None:
        self._path = path
        self.metrics = metrics or TrainerMetrics()
        self._refused_batches = refused_batches
        self._written_s = 0.0
        self._samples = 0
        self._has_failed = False

    def write_when_due(
        self,
        machine: BatchMachine,
        publisher: Publisher,
        batch_log: BatchLog,
        log: PolledLog,
        report: TrainerReport,
    ) -> None:
        """Write the files when a second has passed."""
        now_s = time.monotonic()
        elapsed_s = now_s - self._written_s
        if elapsed_s < INTERVAL_S:
            return
        progress = machine.learner.progress
        rate = (progress.samples - self._samples) / elapsed_s if self._written_s else 0.0
        self._written_s, self._samples = now_s, progress.samples
        content: dict[str, Any] = {"samples_per_s": round(rate, 1)}
        content |= _model_status(machine, publisher) | _lag(machine.offsets, log.end_offsets())
        content |= {"refused_batches": self._refused_batches.status()}
        content |= {"gaps": machine.gaps.saved(), "batch_log": batch_log.status()} | report.status()
        self.metrics.content = content
        try:
            replace_file(self._path, msgspec.json.encode(content))
            replace_file(self._path.with_suffix(".prom"), self.metrics.exposition())
        except OSError as error:
            if not self._has_failed:
                logger.error("the status file cannot be written (%s); further errors are not told", error)
            self._has_failed = True


def _model_status(machine: BatchMachine, publisher: Publisher) -> dict[str, Any]:
    learner = machine.learner
    return {
        "time_ms": time.time_ns() // 1_000_000,
        "pid": os.getpid(),
        "version": publisher.last_version,
        "lost_samples": machine.gaps.lost,
        "offsets": dict(machine.offsets),
        "progress": msgspec.to_builtins(learner.progress),
        "metrics": {**learner.metrics.values(), **learner.drift.metrics(learner.progress.step)},
        "drift": msgspec.to_builtins(learner.drift.status),
        "items": len(learner.builder.items),
        "users": len(learner.weights.tower.user_rows),
        "user_rows": learner.weights.tower.user_rows.metrics(),
        "learnt_once": {"keys": len(learner.learnt_once), "forgotten_early": learner.learnt_once.forgotten_early},
        "publishing": {
            "snapshot": publisher.snapshots.last_version,
            "snapshots": publisher.snapshots.count,
            "snapshot_ms": round(publisher.snapshots.last_write_ms, 1),
            "snapshot_bytes": publisher.snapshots.last_bytes,
            "store": publisher.snapshots.uri,
            "store_error": publisher.snapshots.error,
            "store_failed": publisher.snapshots.failed,
            "deltas": publisher.deltas,
            "delta_ms": round(publisher.last_delta_ms, 1),
            "delta_bytes": publisher.last_delta_bytes,
            "total_delta_bytes": publisher.delta_bytes,
            "mean_delta_bytes": publisher.delta_bytes // max(1, publisher.deltas),
            "held": publisher.held,
            "failed": publisher.failed,
        },
        "gate": machine.gate.status(),
        "judged": learner.metrics.judgement.blocks.told(),
        "holds": machine.holds.status(),
        "quarantine": machine.quarantine.status(),
        "base": machine.base,
        "is_announced": not publisher.has_unsent,
    }


def _lag(offsets: Mapping[str, int], ends: Mapping[str, int]) -> dict[str, Any]:
    lag = {name: max(0, end - offsets.get(name, 0)) for name, end in ends.items()}
    of_samples = sum(count for name, count in lag.items() if name.startswith(SAMPLES_TOPIC))
    return {"lag_samples": of_samples, "lag": lag}
