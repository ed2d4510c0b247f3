"""The feature job's catch-up beside a job that only copies the same topic: `python tests/bench/bench_feature_job.py`.

One real Kafka and one real Flink cluster; a backlog of events lies in the topic before each job starts. A job's rate
is all events over the time from its first record out to its last (Kafka's own record times): no start is in it.
The last line is `ratio=…`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from numpy.typing import NDArray

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.local_stack import LocalStack  # noqa: E402
from features.config import Endpoints, load_app_config, load_section  # noqa: E402
from streams.config import StreamsConfig  # noqa: E402
from streams.flink_rest import FlinkRest  # noqa: E402
from streams.job import SqlJob  # noqa: E402
from streams.job_files import JobFiles  # noqa: E402
from streams.jobs.feature_job import feature_job  # noqa: E402
from streams.kafka_tables import EVENTS_TOPIC, ITEMS_TOPIC  # noqa: E402

COPY_TOPIC = "bench.copy.v1"
ROW_TOPICS = [f"headrace.features.{view}.v1" for view in ("user_activity", "item_activity")]
EVERY_EVENT = "user_activity_rows"
"""The operator of the feature job that reads every event."""
PARTITIONS = 4
_QUIET_S = 4.0
"""A job is done once its topics did not grow for this long."""


@dataclass(frozen=True)
class Run:
    """What one job did."""

    events: int
    rows: int
    wall_s: float
    cpu_s: float

    @property
    def events_per_s(self) -> float:
        """Input events per second between the first and the last record out."""
        return self.events / self.wall_s


def copy_job(bootstrap: str, streams: StreamsConfig) -> SqlJob:
    """Return a job that parses every event and writes it again, as typed JSON."""
    columns = """`event_id` STRING, `user_id` STRING, `item_id` STRING, `action` STRING, `event_time_ms` BIGINT,
  `value` DOUBLE"""
    common = f"'connector' = 'kafka', 'properties.bootstrap.servers' = '{bootstrap}'"
    source = f"""CREATE TEMPORARY TABLE copied_events (
  {columns}
) WITH ({common}, 'topic' = '{EVENTS_TOPIC}', 'properties.group.id' = 'bench-copy', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset')"""
    sink = f"""CREATE TEMPORARY TABLE copies (
  {columns}
) WITH ({common}, 'topic' = '{COPY_TOPIC}', 'key.format' = 'raw', 'key.fields' = 'user_id', 'value.format' = 'json',
  'properties.linger.ms' = '{streams.linger_ms}', 'sink.delivery-guarantee' = 'at-least-once')"""
    return SqlJob("bench-copy", [source, sink], [], ["INSERT INTO copies SELECT * FROM copied_events"], [])


def fill_topics(bootstrap: str, events: int, users: int, items: int, seed: int) -> None:
    """Write items, then events of uniformly drawn users."""
    send_items(bootstrap, items)
    send_events(bootstrap, np.random.default_rng(seed).integers(users, size=events), items, seed)


def send_items(bootstrap: str, items: int) -> None:
    """Write item records with two categories each."""
    with _batching_producer(bootstrap) as producer:
        for number in range(items):
            categories = [f"c{number % 19}", f"d{number % 7}"]
            item = {"item_id": f"i{number}", "title": f"Item {number}", "categories": categories}
            producer.send(ITEMS_TOPIC, key=f"i{number}".encode(), value=msgspec.json.encode(item))


def send_events(bootstrap: str, users: Sequence[int] | NDArray[np.int64], items: int, seed: int) -> None:
    """Write one event of each of `users`, in this order, on Zipf-popular items; `seed` must differ between calls."""
    rng = np.random.default_rng(seed)
    item_of = np.minimum(rng.zipf(1.2, size=len(users)), items) - 1
    actions = rng.choice(["view", "click", "like", "dislike", "rating"], size=len(users), p=[0.5, 0.2, 0.1, 0.05, 0.15])
    with _batching_producer(bootstrap) as producer:
        for number, user in enumerate(users):
            event: dict[str, Any] = {
                "event_id": f"{seed:04x}-{number:020d}",
                "user_id": f"u{user}",
                "item_id": f"i{item_of[number]}",
                "action": str(actions[number]),
                "event_time_ms": time.time_ns() // 1_000_000,
                "value": float(number % 5 + 1),
            }
            producer.send(EVENTS_TOPIC, key=event["user_id"].encode(), value=msgspec.json.encode(event))


@contextmanager
def _batching_producer(bootstrap: str) -> Iterator[KafkaProducer]:
    # A batch may be no larger than a message of the topic, 64 KiB, or the broker sends it back to be split.
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50, batch_size=60 * 1024)
    yield producer
    producer.flush(timeout=600.0)
    producer.close()


class TopicGrowth:
    """Ends of topics, and the record times of what was added."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self._consumer: Any = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        self._parts = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        self._before = self.ends()

    def ends(self) -> dict[TopicPartition, int]:
        """Return the end of each partition."""
        ends: dict[TopicPartition, int] = self._consumer.end_offsets(self._parts)
        return ends

    def wait_quiet(self, is_read: Callable[[], bool], timeout_s: float) -> tuple[int, float]:
        """Wait until nothing is added any more; return records added, and seconds from the first to the last.

        Args:
            is_read: says whether the job has read all: one that stalls before has not ended.
            timeout_s: of the wait.
        """
        deadline = time.monotonic() + timeout_s
        last, changed_s = self._before, time.monotonic()
        while time.monotonic() - changed_s < _QUIET_S or not is_read():
            if time.monotonic() > deadline:
                raise SystemExit(f"the job was not done after {timeout_s:g} s")
            time.sleep(0.2)
            now = self.ends()
            if now != last:
                last, changed_s = now, time.monotonic()
        grown = [part for part in self._parts if last[part] > self._before[part]]
        times = [self._time_at(part, offset) for part in grown for offset in (self._before[part], last[part] - 1)]
        return self._added(last), (max(times) - min(times)) / 1000.0

    def rows(self) -> int:
        """Return how many records were added so far."""
        return self._added(self.ends())

    def _added(self, ends: Mapping[TopicPartition, int]) -> int:
        return sum(ends.values()) - sum(self._before.values())

    def _time_at(self, part: TopicPartition, offset: int) -> int:
        self._consumer.assign([part])
        self._consumer.seek(part, offset)
        while True:
            for records in self._consumer.poll(timeout_ms=1000).values():
                return int(records[0].timestamp)


def records_read(endpoints: Endpoints, job_id: str, operator: str) -> int:
    """Return how many records the task with `operator` has read; Flink tells it some seconds late."""
    with urllib.request.urlopen(f"http://{endpoints.flink}/jobs/{job_id}", timeout=10) as response:
        vertices = json.load(response)["vertices"]
    return sum(vertex["metrics"]["read-records"] for vertex in vertices if operator in vertex["name"])


def run_job(
    job: SqlJob,
    topics: Sequence[str],
    events: int,
    endpoints: Endpoints,
    streams: StreamsConfig,
    reader: str | None = None,
) -> Run:
    """Run one job until it has read all and its output is quiet, then cancel it.

    Args:
        job: to run.
        topics: that it writes.
        events: in its input.
        endpoints: of the stack.
        streams: settings.
        reader: operator that reads every event; None where each becomes a row.
    """
    growth = TopicGrowth(endpoints.kafka, topics)
    job_id = start_job(job, endpoints, streams)
    before_s = flink_cpu_s(endpoints)

    def is_read() -> bool:
        # A copy is a row an event. The feature job folds rows; its user rows are made from every event.
        return (growth.rows() if reader is None else records_read(endpoints, job_id, reader)) >= events

    rows, wall_s = growth.wait_quiet(is_read, timeout_s=1800.0)
    cpu_s = flink_cpu_s(endpoints) - before_s
    FlinkRest(endpoints.flink).cancel(job_id)
    return Run(events, rows, wall_s, cpu_s)


def start_job(job: SqlJob, endpoints: Endpoints, streams: StreamsConfig) -> str:
    """Submit a job, wait until it runs and return its id."""
    from streams.submission import find_jars, job_settings, submit, wait_until_running

    rest = FlinkRest(endpoints.flink)
    files = JobFiles(Path(endpoints.state) / "flink", job.name)
    settings = job_settings(job, streams, rest, files, find_jars(ROOT / ".jars"))
    job_id = submit(job, settings, files.plan(job.plan_name), None)
    wait_until_running(rest, job, job_id, streams, None)
    return job_id


def flink_cpu_s(endpoints: Endpoints) -> float:
    """Return the CPU seconds of the TaskManagers of this stack so far."""
    times = [process.cpu_times() for process in taskmanagers(endpoints)]
    return sum(time.user + time.system for time in times)


def taskmanagers(endpoints: Endpoints) -> list[psutil.Process]:
    """Return the processes of the TaskManagers of this stack."""
    name = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
    found = [(process, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [process for process, command in found if name in command and endpoints.state in " ".join(command)]


def add_stack_options(parser: argparse.ArgumentParser) -> None:
    """Add what `write_config` reads, and how many items there are."""
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--heap-mb", type=int, default=4096)
    parser.add_argument("--checkpoint-s", type=float, default=0.0, help="seconds between checkpoints; 0: as shipped")
    parser.add_argument("--jvm-compiler", choices=("quick", "full"), default="full")


def write_config(folder: Path, options: argparse.Namespace) -> Path:
    """Write the shipped configuration with this benchmark's sizes."""
    data = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
    data["streams"] = {**data.get("streams", {}), "parallelism": options.parallelism}
    if options.checkpoint_s:
        data["streams"]["checkpoint_interval_ms"] = round(1000 * options.checkpoint_s)
    data["stack"] = {
        **data.get("stack", {}),
        "taskmanager_heap_mb": options.heap_mb,
        "jvm_compiler": options.jvm_compiler,
        "taskmanagers": 1,
    }
    path = folder / "headrace.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the copy job and the feature job over the same backlog and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=50_000)
    add_stack_options(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), options)
        parts = ["kafka", "jobmanager", "taskmanager-1", "topics"]
        with LocalStack(config, Path(folder) / "state", parts=parts) as stack:
            endpoints = stack.start()
            admin = KafkaAdminClient(bootstrap_servers=endpoints.kafka)
            admin.create_topics([NewTopic(COPY_TOPIC, PARTITIONS, 1)])
            admin.close()
            fill_topics(endpoints.kafka, options.events, options.users, options.items, seed=1)
            streams = load_section(config, "streams", StreamsConfig)
            app = load_app_config(config)
            copied = run_job(copy_job(endpoints.kafka, streams), [COPY_TOPIC], options.events, endpoints, streams)
            _print("copy", copied)
            job = feature_job(app, streams, endpoints.kafka)
            made = run_job(job, ROW_TOPICS, options.events, endpoints, streams, EVERY_EVENT)
            _print("features", made)
    print(f"ratio={made.events_per_s / copied.events_per_s:.3f}")
    return 0


def _print(name: str, run: Run) -> None:
    print(
        f"{name}: {run.events_per_s:,.0f} events/s, {run.rows:,} rows out, {run.wall_s:.1f} s, "
        f"{run.cpu_s * 1e5 / run.events:.1f} CPU-s of the TaskManager per 100,000 events",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
