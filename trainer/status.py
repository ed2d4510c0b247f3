"""The trainer's status file: what `headrace status` and the demo show, rewritten every second by one rename."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from trainer.holds import Holds
from trainer.learner import Learner
from trainer.publisher import Publisher
from trainer.sample_log import SAMPLES_TOPIC, Log

INTERVAL_S = 1.0


class StatusFile:
    """Writes `STATE/trainer.json`.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_s = 0.0
        self._samples = 0

    def write_when_due(
        self,
        learner: Learner,
        publisher: Publisher,
        offsets: Mapping[str, int],
        log: Log,
        holds: Holds,
    ) -> None:
        """Write the file when a second has passed."""
        now_s = time.monotonic()
        elapsed_s = now_s - self._written_s
        if elapsed_s < INTERVAL_S:
            return
        progress = learner.progress
        rate = (progress.samples - self._samples) / elapsed_s if self._written_s else 0.0
        self._written_s, self._samples = now_s, progress.samples
        ends = log.end_offsets()
        lag = {name: max(0, end - offsets.get(name, 0)) for name, end in ends.items()}
        content = {
            "time_ms": time.time_ns() // 1_000_000,
            "pid": os.getpid(),
            "version": publisher.last_version,
            "samples_per_s": round(rate, 1),
            "lag_samples": sum(count for name, count in lag.items() if name.startswith(SAMPLES_TOPIC)),
            "lag": lag,
            "lost_samples": log.lost,
            "offsets": dict(offsets),
            "progress": msgspec.to_builtins(progress),
            "metrics": learner.metrics.values(),
            "items": len(learner.builder.items),
            "users": len(learner.tower.user_rows),
            "publish_ms": round(publisher.last_write_ms, 1),
            "held_versions": publisher.held,
            "failed_publishes": publisher.failed,
            "holds": holds.status(),
            "is_announced": not publisher.has_unannounced,
        }
        temporary = self._path.with_suffix(".tmp")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.json.encode(content))
        temporary.replace(self._path)
