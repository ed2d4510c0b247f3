"""The processes of a local stack, as its supervisor tells them in `STATE/status.json`; nothing where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from compose.local_stack import read_status
from compose.processes import ProcessRecord, is_alive
from features.metric_families import labelled


class StackMetrics(Collector):
    """Looks at every scrape.

    Args:
        state_dir: of the stack.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        parts = read_status(self._state_dir).get("parts", [])
        states = {part["name"]: part["state"] == "done" or _is_ready(part) for part in parts}
        restarts = {part["name"]: part["restarts"] for part in parts}
        yield labelled("headrace_stack_part_up", "1 while a part is ready, or done where it is a step.", "part", states)
        yield labelled("headrace_stack_part_restarts_total", "Times that a part was started again.", "part", restarts)


def _is_ready(part: Mapping[str, Any]) -> bool:
    return part["state"] == "ready" and bool(part["process"]) and is_alive(ProcessRecord.from_json(part["process"]))
