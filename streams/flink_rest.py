"""The few REST calls that submitting needs."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from streams.errors import ClusterError, JobFailedError

_LIVE = ("INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "RECONCILING", "SUSPENDED")
_POLL_S = 0.2
_CALL_S = 5.0


class FlinkRest:
    """A JobManager's REST endpoint.

    Args:
        address: `host:port`.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def live_jobs(self) -> dict[str, str]:
        """Return the ids of jobs that run or will, by name."""
        jobs = self._get("/jobs/overview")["jobs"]
        return {job["name"]: job["jid"] for job in jobs if job["state"] in _LIVE}

    def wait_live_jobs(self, timeout_s: float) -> dict[str, str]:
        """Return `live_jobs`, waiting for a cluster that is still coming up.

        Raises:
            ClusterError: it does not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.live_jobs()
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def wait_running(self, job_id: str, timeout_s: float, is_hopeless: Callable[[str], bool] | None = None) -> None:
        """Wait until every operator of the job runs.

        Args:
            job_id: the job.
            timeout_s: how long it may take.
            is_hopeless: told the stack trace of a failure after which Flink would try again; True ends the wait.

        Raises:
            JobFailedError: the job ends instead, or failed hopelessly.
            ClusterError: it is not up in time, or the cluster does not answer.
        """
        deadline = time.monotonic() + timeout_s
        state = "unknown"
        while time.monotonic() < deadline:
            job = self._get(f"/jobs/{job_id}")
            state = job["state"]
            if state == "RUNNING" and all(vertex["status"] == "RUNNING" for vertex in job["vertices"]):
                return
            if state in ("FAILED", "CANCELED", "FINISHED"):
                trace = self.failure_trace(job_id)
                raise JobFailedError(f"job {job_id} is {state} instead of running: {root_message(trace)}", trace)
            if is_hopeless is not None and is_hopeless(trace := self.failure_trace(job_id)):
                raise JobFailedError(f"job {job_id} cannot start: {root_message(trace)}", trace)
            time.sleep(_POLL_S)
        raise ClusterError(
            f"job {job_id} is {state}, not up after {timeout_s:g} s: {root_message(self.failure_trace(job_id))}; "
            "free task slots or raise streams.submit_timeout_s"
        )

    def taskmanagers_of(self, job_id: str) -> set[str]:
        """Return the resource ids of the TaskManagers that run a job."""
        vertices = [vertex["id"] for vertex in self._get(f"/jobs/{job_id}")["vertices"]]
        subtasks = [task for v in vertices for task in self._get(f"/jobs/{job_id}/vertices/{v}")["subtasks"]]
        return {str(task["taskmanager-id"]) for task in subtasks}

    def failure_trace(self, job_id: str) -> str:
        """Return the stack trace of the job's last failure, empty where it had none."""
        entries = self._get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return str(entries[0]["stacktrace"]) if entries else ""

    def cancel(self, job_id: str) -> None:
        """Cancel a job and wait until it has ended; its checkpoints stay.

        Raises:
            ClusterError: the cluster does not do it.
        """
        self._call(f"/jobs/{job_id}?mode=cancel", "PATCH")
        while job_id in self.live_jobs().values():
            time.sleep(_POLL_S)

    def savepoint(self, job_id: str, folder: str, stop: bool, timeout_s: float) -> str:
        """Write a savepoint and return its path.

        Args:
            job_id: the job.
            folder: URI of the directory that gets it.
            stop: end the job with it.
            timeout_s: how long it may take.

        Raises:
            ClusterError: the cluster does not do it, or not in time.
        """
        # Flink names the field of the two calls differently, and takes its default folder where it does not know it.
        stopping, going_on = (
            {"targetDirectory": folder, "drain": False},
            {"target-directory": folder, "cancel-job": False},
        )
        body: dict[str, Any] = stopping if stop else going_on
        verb = "stop" if stop else "savepoints"
        trigger = self._call(f"/jobs/{job_id}/{verb}", "POST", body)["request-id"]
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            answer = self._get(f"/jobs/{job_id}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                return _savepoint_path(answer["operation"])
            time.sleep(_POLL_S)
        raise ClusterError(f"no savepoint of {job_id} within {timeout_s:g} s; look at the JobManager's log")

    def _get(self, path: str) -> Any:
        return self._call(path, "GET")

    def _call(self, path: str, method: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.address}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_CALL_S) as response:  # Only http, from our endpoints file.
                return json.load(response)
        except (OSError, urllib.error.URLError, json.JSONDecodeError) as error:
            raise ClusterError(f"Flink at {self.address} does not answer {path}: {error}") from error


def _savepoint_path(operation: dict[str, Any]) -> str:
    if "location" not in operation:
        trace = operation.get("failure-cause", {}).get("stack-trace", "")
        raise ClusterError(f"the savepoint failed: {root_message(trace)}")
    return str(operation["location"])


def root_message(trace: str) -> str:
    """Return the innermost cause of a Java stack trace."""
    causes = [line for line in trace.splitlines() if line.startswith("Caused by: ")] or trace.splitlines()[:1]
    return causes[-1].removeprefix("Caused by: ") if causes else "no cause is known"
