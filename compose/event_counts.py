"""What the feature job did to events since it was started, as its operators tell Flink: duplicates, times ahead.

`FIRST_EVENTS` (streams/java/FirstEvents.java) counts. Flink keeps counters in memory: a job that was restarted, also by
a failover, begins at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

COUNTED = ("duplicates", "clamped")

Ask = Callable[[str], Any]
"""Returns what the JobManager answers at a path, None where it does not."""


def event_counts(ask: Ask, jobs: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the counts of the running feature job, summed over its tasks; empty where nobody tells.

    Args:
        ask: the JobManager.
        jobs: as `/jobs/overview` lists them.
    """
    running = [job["jid"] for job in jobs if job["name"].endswith("-feature-job") and job["state"] == "RUNNING"]
    counts: dict[str, int] = {}
    for job_id in running[-1:]:
        for vertex in (ask(f"/jobs/{job_id}") or {}).get("vertices", []):
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
            names = [metric["id"] for metric in ask(path) or [] if _counted(metric["id"])]
            for metric in (ask(f"{path}?get={','.join(names)}&agg=sum") or []) if names else []:
                name = _counted(metric["id"])
                counts[name] = counts.get(name, 0) + int(metric["sum"])
    return counts if counts.keys() == set(COUNTED) else {}


def _counted(metric: str) -> str:
    """Return which count a metric is, which is named behind its operator; empty for another."""
    name = metric.rpartition(".")[2]
    return name if name in COUNTED else ""
