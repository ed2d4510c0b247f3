"""The trainer's status files: `trainer.json` for `headrace status` and the demo, `trainer.prom` for Prometheus.

Both are rewritten every second by one rename; the second is in the text format that a node exporter's textfile
collector reads. A disk that refuses them does not stop the trainer.
"""

from __future__ import annotations

import logging
import math
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

INTERVAL_S = 1.0
_GAUGES = {
    "headrace_trainer_gaps_total": "Ranges of offsets that topics lacked.",
    "headrace_trainer_lost_records_total": "Records that were gone before they could be learnt.",
    "headrace_trainer_checkpoint_age_seconds": "Since the newest checkpoint; -1 where this start has written none.",
    "headrace_trainer_failed_checkpoints_total": "Checkpoints that the disk refused.",
    "headrace_trainer_refused_checkpoints_total": "Bad checkpoints that were not resumed from.",
    "headrace_trainer_batch_log_unwritten": "1 where the batch log cannot be written.",
    "headrace_trainer_batch_log_damaged": "1 where this start could not follow the log to its end.",
    "headrace_trainer_replay_inexact": "1 where records of the log to repeat were gone or others.",
    "headrace_trainer_too_old_samples_total": "Samples of which nobody knows any more whether they were learnt.",
    "headrace_trainer_non_finite_steps_total": "Steps that were not taken; STATE/trainer/refused_batches keeps them.",
    "headrace_trainer_clipped_steps_total": "Steps whose update was made smaller.",
    "headrace_trainer_capped_samples_total": "Samples that taught nothing, as their user had taught enough.",
    "headrace_trainer_deltas_total": "Deltas sent.",
    "headrace_trainer_delta_bytes_total": "Bytes of these deltas, uncompressed.",
    "headrace_trainer_delta_seconds": "From the newest delta's cut to the broker's word.",
    "headrace_trainer_snapshots_total": "Snapshots written.",
    "headrace_trainer_snapshot_bytes": "Of the newest snapshot.",
    "headrace_trainer_held_versions_total": "Versions that the gate held.",
    "headrace_trainer_gate_held": "1 while a version is held and nothing is published; STATE/trainer.json says why.",
    "headrace_trainer_store_failures_total": "Snapshots that the model store did not take.",
    "headrace_trainer_store_away": "1 while the newest snapshot could not be written; STATE/trainer.json says why.",
    "headrace_trainer_failed_publishes_total": "Tries to write or send a version that ended in an error.",
    "headrace_trainer_unsent": "1 where a version waits for Kafka.",
    "headrace_trainer_lag_samples": "Samples that wait.",
    "headrace_trainer_samples_total": "Samples taken.",
    "headrace_trainer_user_rows": "Users with an embedding row of their own.",
    "headrace_trainer_waiting_users": "Users seen of late that must still earn their row; an estimate.",
    "headrace_trainer_admitted_users_total": "Users that got a row.",
    "headrace_trainer_expired_users_total": "Rows that went because their user stayed away.",
    "headrace_trainer_evicted_users_total": "Rows that went because the table was full.",
}

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
        return {"checkpoints": checkpoints, "replay": vars(self._replay), "reject_error": self.reject_error}


class StatusFile:
    """Writes `STATE/trainer.json`, and `STATE/trainer.prom` beside it.

    Args:
        path: the first.
        refused_batches: counted in it.
    """

    def __init__(self, path: Path, refused_batches: RefusedBatches) -> None:
        self._path = path
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
        try:
            replace_file(self._path, msgspec.json.encode(content))
            replace_file(self._path.with_suffix(".prom"), _exposition(content))
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
        "holds": machine.holds.status(),
        "base": machine.base,
        "is_announced": not publisher.has_unsent,
    }


def _lag(offsets: Mapping[str, int], ends: Mapping[str, int]) -> dict[str, Any]:
    lag = {name: max(0, end - offsets.get(name, 0)) for name, end in ends.items()}
    of_samples = sum(count for name, count in lag.items() if name.startswith(SAMPLES_TOPIC))
    return {"lag_samples": of_samples, "lag": lag}


def _exposition(content: Mapping[str, Any]) -> bytes:
    """Return the numbers that alarms are made of, in Prometheus' text format."""
    values = (
        content["gaps"]["count"],
        content["gaps"]["lost"],
        content["checkpoints"]["age_s"],
        content["checkpoints"]["failed"],
        len(content["checkpoints"]["refused"]),
        int(bool(content["batch_log"]["write_error"])),
        int(bool(content["batch_log"]["damage"])),
        int(not content["replay"]["is_exact"]),
        content["progress"]["refused"].get("too_old", 0),
        content["progress"]["non_finite_steps"],
        content["progress"]["clipped_steps"],
        content["progress"]["capped"],
        content["publishing"]["deltas"],
        content["publishing"]["total_delta_bytes"],
        content["publishing"]["delta_ms"] / 1000.0,
        content["publishing"]["snapshots"],
        content["publishing"]["snapshot_bytes"],
        content["publishing"]["held"],
        int(content["gate"]["state"] == "HELD"),
        content["publishing"]["store_failed"],
        int(bool(content["publishing"]["store_error"])),
        content["publishing"]["failed"],
        int(not content["is_announced"]),
        content["lag_samples"],
        content["progress"]["samples"],
        *(content["user_rows"][name] for name in ("rows", "waiting", "admitted", "expired", "evicted")),
    )
    lines = []
    for (name, meaning), value in zip(_GAUGES.items(), values, strict=True):
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {value}"]
    lines += ["# HELP headrace_trainer_metric Rolling metrics, prequential.", "# TYPE headrace_trainer_metric gauge"]
    for name, value in content["metrics"].items():
        metric, _, slice_name = name.removesuffix("]").partition("[")
        if not name.endswith("_overall") and math.isfinite(value):
            told = f'name="{_escaped(metric)}",slice="{_escaped(slice_name)}"'
            lines.append(f"headrace_trainer_metric{{{told}}} {value}")
    return ("\n".join(lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
