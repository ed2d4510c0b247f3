"""What `STATE/trainer.json` says of a trainer that has just begun, as far as Prometheus is told of it."""

from __future__ import annotations

from typing import Any

CONTENT: dict[str, Any] = {
    "gaps": {"count": 0, "lost": 0},
    "checkpoints": {"age_s": -1.0, "failed": 0, "refused": []},
    "batch_log": {"write_error": "", "damage": ""},
    "replay": {"is_exact": True},
    "progress": {"refused": {}, "non_finite_steps": 0, "clipped_steps": 0, "capped": 0, "samples": 0},
    "publishing": {
        "deltas": 0,
        "total_delta_bytes": 0,
        "delta_ms": 0.0,
        "snapshots": 0,
        "snapshot_bytes": 0,
        "held": 0,
        "store_failed": 0,
        "store_error": "",
        "failed": 0,
    },
    "gate": {"state": "PASSING"},
    "is_announced": True,
    "lag_samples": 0,
    "user_rows": {"rows": 0, "waiting": 0, "admitted": 0, "expired": 0, "evicted": 0},
    "metrics": {"hr@10": 0.1},
}
