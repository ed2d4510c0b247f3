"""What an event costs the feature job with ever more users in its state: `python tests/bench/bench_feature_keys.py`.

One real Kafka and one real Flink cluster. For each size the users that are not there yet get one event each; then the
same number of events, of users drawn from all of them, is measured. So only the state grows: with it the deduplication
and the item's memory of recent events. Checkpoints come by the clock and not by events, and on the heap each writes all
of it: they are kept out of that and measured by themselves, one at each size.
The last line is `flatness=…`: CPU an event at the largest size over that at the smallest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.local_stack import LocalStack  # noqa: E402
from features.config import Endpoints, load_app_config, load_section  # noqa: E402
from streams.config import StreamsConfig  # noqa: E402
from streams.jobs.feature_job import feature_job  # noqa: E402
from tests.bench.bench_feature_job import (  # noqa: E402
    EVERY_EVENT,
    ROW_TOPICS,
    TopicGrowth,
    add_stack_options,
    flink_cpu_s,
    records_read,
    send_events,
    send_items,
    start_job,
    taskmanagers,
    write_config,
)

_TIMEOUT_S = 3600.0
_NO_CHECKPOINT_S = 24 * 3600.0


@dataclass
class Feed:
    """The running job, and how many events it was sent."""

    endpoints: Endpoints
    job_id: str
    items: int
    sent: int = 0
    calls: int = 0

    def send(self, users: NDArray[np.int64]) -> tuple[float, float]:
        """Send an event of each of `users` and wait for all rows; return seconds of time and of the job's CPU."""
        growth = TopicGrowth(self.endpoints.kafka, ROW_TOPICS)
        before_s = flink_cpu_s(self.endpoints)
        self.sent, self.calls = self.sent + len(users), self.calls + 1
        send_events(self.endpoints.kafka, users, self.items, seed=self.calls)
        _, wall_s = growth.wait_quiet(self._is_read, _TIMEOUT_S)
        return wall_s, flink_cpu_s(self.endpoints) - before_s

    def _is_read(self) -> bool:
        return records_read(self.endpoints, self.job_id, EVERY_EVENT) >= self.sent

    def checkpoint(self) -> str:
        """Take a checkpoint and say what it was."""
        before_s = flink_cpu_s(self.endpoints)
        taken = self._ask("/checkpoints")["counts"]["total"]
        self._ask("/checkpoints", {"checkpointType": "FULL"})
        while (checkpoints := self._ask("/checkpoints"))["counts"]["total"] == taken or self._is_open(checkpoints):
            time.sleep(0.2)
        newest = checkpoints["history"][0]
        cpu_s = flink_cpu_s(self.endpoints) - before_s
        size_gb, took_s = newest["state_size"] / 1e9, newest["end_to_end_duration"] / 1000
        return f"checkpoint {newest['status'].lower()}: {size_gb:.2f} GB, {took_s:.1f} s, {cpu_s:.1f} CPU-s"

    @staticmethod
    def _is_open(checkpoints: dict[str, Any]) -> bool:
        return bool(checkpoints["counts"]["in_progress"])

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(f"http://{self.endpoints.flink}/jobs/{self.job_id}{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


def main(arguments: Sequence[str] | None = None) -> int:
    """Grow the state, measure at each size and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--events", type=int, default=200_000, help="measured at each size")
    parser.add_argument("--backend", choices=("hashmap", "rocksdb"), default="hashmap")
    add_stack_options(parser)
    options = parser.parse_args(arguments)
    options.checkpoint_s = options.checkpoint_s or _NO_CHECKPOINT_S
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), options)
        parts = ["kafka", "jobmanager", "taskmanager-1", "topics"]
        with LocalStack(config, Path(folder) / "state", parts=parts) as stack:
            endpoints = stack.start()
            send_items(endpoints.kafka, options.items)
            streams = load_section(config, "streams", StreamsConfig)
            streams = streams.model_copy(update={"state_backend": options.backend})
            job = feature_job(load_app_config(config), streams, endpoints.kafka)
            feed = Feed(endpoints, start_job(job, endpoints, streams), options.items)
            costs = _costs(feed, sorted(options.users), options.events)
    print(f"flatness={costs[-1] / costs[0]:.2f}")
    return 0


def _costs(feed: Feed, sizes: Sequence[int], events: int) -> list[float]:
    """Return the microseconds of CPU an event at each size."""
    costs = []
    feed.send(np.arange(events) % sizes[0])  # The compiler's part.
    known = 0
    for step, size in enumerate(sizes):
        wall_s, cpu_s = feed.send(np.arange(known, size))
        print(f"{size - known:,} new users: {cpu_s / (size - known) * 1e6:.0f} us CPU each, {wall_s:.0f} s", flush=True)
        known = size
        wall_s, cpu_s = feed.send(np.random.default_rng(step).integers(size, size=events))
        costs.append(cpu_s / events * 1e6)
        rss_gb = sum(process.memory_info().rss for process in taskmanagers(feed.endpoints)) / 1e9
        print(
            f"{size:,} users: {costs[-1]:.0f} us CPU an event, {events / wall_s:,.0f} events/s, "
            f"TaskManager {rss_gb:.1f} GB; {feed.checkpoint()}",
            flush=True,
        )
    return costs


if __name__ == "__main__":
    sys.exit(main())
