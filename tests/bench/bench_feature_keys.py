"""What an event costs the feature job with ever more users in its state: `python tests/bench/bench_feature_keys.py`.

One real Kafka and one real Flink cluster. For each size the users that are not there yet get one event each; then the
same number of events, of users drawn from all of them, is measured. So only the state grows: with it the deduplication,
the item's memory of recent events, and what a checkpoint writes, as on the heap it writes all of it.
The last line is `flatness=…`: CPU an event at the largest size over that at the smallest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

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
    ROW_TOPICS,
    TopicGrowth,
    add_stack_options,
    flink_cpu_s,
    send_events,
    send_items,
    start_job,
    taskmanagers,
    write_config,
)

_TIMEOUT_S = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Grow the state, measure at each size and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--events", type=int, default=100_000, help="measured at each size")
    parser.add_argument("--backend", choices=("hashmap", "rocksdb"), default="hashmap")
    add_stack_options(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), options)
        parts = ["kafka", "jobmanager", "taskmanager-1", "topics"]
        with LocalStack(config, Path(folder) / "state", parts=parts) as stack:
            endpoints = stack.start()
            send_items(endpoints.kafka, options.items)
            streams = load_section(config, "streams", StreamsConfig)
            streams = streams.model_copy(update={"state_backend": options.backend})
            start_job(feature_job(load_app_config(config), streams, endpoints.kafka), endpoints, streams)
            costs = _costs(endpoints, sorted(options.users), options)
    print(f"flatness={costs[-1] / costs[0]:.2f}")
    return 0


def _costs(endpoints: Endpoints, sizes: Sequence[int], options: argparse.Namespace) -> list[float]:
    """Return the microseconds of CPU an event at each size."""
    costs = []
    _feed(endpoints, np.arange(options.events) % sizes[0], options.items, seed=1)  # The compiler's part.
    known = 0
    for step, size in enumerate(sizes):
        _feed(endpoints, np.arange(known, size), options.items, seed=2 + 2 * step)
        known = size
        drawn = np.random.default_rng(step).integers(size, size=options.events)
        wall_s, cpu_s = _feed(endpoints, drawn, options.items, seed=3 + 2 * step)
        costs.append(cpu_s / options.events * 1e6)
        rss_gb = sum(process.memory_info().rss for process in taskmanagers(endpoints)) / 1e9
        print(
            f"{size:,} users: {costs[-1]:.0f} us CPU an event, {options.events / wall_s:,.0f} events/s, "
            f"TaskManager {rss_gb:.1f} GB",
            flush=True,
        )
    return costs


def _feed(endpoints: Endpoints, users: NDArray[np.int64], items: int, seed: int) -> tuple[float, float]:
    """Send an event of each of `users` and wait for all rows; return seconds of time and of the TaskManager's CPU."""
    growth = TopicGrowth(endpoints.kafka, ROW_TOPICS)
    before_s = flink_cpu_s(endpoints)
    send_events(endpoints.kafka, users, items, seed)
    _, wall_s = growth.wait_quiet(len(users), _TIMEOUT_S)
    return wall_s, flink_cpu_s(endpoints) - before_s


if __name__ == "__main__":
    sys.exit(main())
