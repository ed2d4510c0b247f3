"""The Flink jobs: whether they run, how far they lag, how their checkpoints fare; asked over the JobManager's REST."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from compose.event_counts import event_counts
from features.metric_families import family, labelled

Ask = Callable[[str], Any]
_TIMEOUT_S = 2.0
_PENDING = ".pendingRecords"


def ask_jobmanager(address: str) -> Ask:
    """Return how to ask for a path: the JSON that it answers, None where it does not."""

    def ask(path: str) -> Any:
        host, _, port = address.rpartition(":")
        if not host:
            return None
        with closing(http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)) as connection:
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return json.loads(response.read()) if response.status == http.HTTPStatus.OK else None
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                return None

    return ask


class FlinkMetrics(Collector):
    """Asks the JobManager at every scrape.

    Args:
        address: its REST address, `host:port`; empty: nobody is asked.
        ask: how it is asked.
        now_ms: wall clock in milliseconds.
    """

    def __init__(
        self,
        address: str,
        ask: Ask | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ask = ask or ask_jobmanager(address)
        self._now_ms = now_ms

    def describe(self) -> Iterator[Metric]:
        """Return nothing: whoever registers must not wait for a JobManager."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        overview = self._ask("/overview") or {}
        jobs = newest_by_name((self._ask("/jobs/overview") or {}).get("jobs", []))
        running = {name: job["state"] == "RUNNING" for name, job in jobs.items()}
        found = {name: self._of_job(job["jid"]) for name, job in jobs.items()}
        yield family("headrace_flink_up", "1 while the JobManager answers.", bool(overview))
        yield family("headrace_flink_taskmanagers", "TaskManagers registered.", overview.get("taskmanagers", 0))
        yield family("headrace_flink_free_slots", "Slots without work.", overview.get("slots-available", 0))
        yield labelled("headrace_flink_job_running", "1 while a job runs.", "job", running)
        for what, text in _OF_A_JOB.items():
            values = {name: told[what] for name, told in found.items() if what in told}
            yield labelled(f"headrace_flink_job_{what}", text, "job", values)
        counts = event_counts(self._ask, list(jobs.values()))
        text = "What the feature job did to events since it began: duplicates dropped, times ahead set back."
        yield labelled("headrace_flink_events_total", text, "what", counts)

    def _of_job(self, job_id: str) -> dict[str, float]:
        """Return what is known of one job, by the names of `_OF_A_JOB`."""
        told: dict[str, float] = {}
        checkpoints = self._ask(f"/jobs/{job_id}/checkpoints") or {}
        newest = (checkpoints.get("latest") or {}).get("completed") or {}
        if newest:
            told["checkpoint_age_seconds"] = max(0, self._now_ms() - newest["latest_ack_timestamp"]) / 1000.0
            told["checkpoint_seconds"] = newest["end_to_end_duration"] / 1000.0
            told["checkpoint_bytes"] = newest["state_size"]
        if "counts" in checkpoints:
            told["failed_checkpoints_total"] = checkpoints["counts"]["failed"]
        for metric in self._ask(f"/jobs/{job_id}/metrics?get=numRestarts") or ():
            told["restarts_total"] = float(metric["value"])
        lag = self._lag(job_id)
        return told if lag is None else told | {"lag_records": lag}

    def _lag(self, job_id: str) -> float | None:
        """Return records in Kafka that the job's sources have not read; None before the sources tell."""
        lag: float | None = None
        for vertex in (self._ask(f"/jobs/{job_id}") or {}).get("vertices", []):
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
            names = [metric["id"] for metric in self._ask(path) or () if metric["id"].endswith(_PENDING)]
            for metric in (self._ask(f"{path}?get={','.join(names)}&agg=sum") or ()) if names else ():
                lag = (lag or 0.0) + float(metric["sum"])
        return lag


_OF_A_JOB: Mapping[str, str] = {
    "lag_records": "Records in Kafka that a job's sources have not read.",
    "restarts_total": "Restarts of a job after a failure.",
    "checkpoint_age_seconds": "Since the newest completed checkpoint.",
    "checkpoint_seconds": "How long the newest checkpoint took.",
    "checkpoint_bytes": "State in the newest checkpoint.",
    "failed_checkpoints_total": "Checkpoints that failed.",
}


def newest_by_name(jobs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each name's newest job; those of an upgrade, which end with it, only while they run."""
    newest = {job["name"]: job for job in sorted(jobs, key=lambda job: job["start-time"])}
    return {name: job for name, job in newest.items() if name.endswith("-job") or job["state"] == "RUNNING"}
