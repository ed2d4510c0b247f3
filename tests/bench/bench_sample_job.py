"""The sample job on a real Kafka and Flink: `python tests/bench/bench_sample_job.py`.

A backlog of served lists with feedback stands in Kafka before the job starts; then lists are served and clicked live at
a stated rate. A row is one shown item with what is known of it, (request_id, item_id): a list of 20 is one message and
20 rows. CPU is that of the TaskManager process, from the first message that the job wrote to the last, so starting and
loading classes do not count; Java's own compiler does.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.flink_cluster import flink_environment  # noqa: E402
from compose.local_stack import LocalStack  # noqa: E402
from compose.part import Part, python_module  # noqa: E402
from features.config import Endpoints, load_app_config  # noqa: E402
from features.model_inputs import feature_schema_hash, ranker_input_names  # noqa: E402
from serving.answers import RankedItem  # noqa: E402
from serving.served_log import ServedList, encode_served  # noqa: E402

CONFIG = ROOT / "headrace.yaml"
EVENTS, SERVED, SAMPLES = "headrace.events.v1", "headrace.served.v1", "headrace.samples.v1"
SERVERS = ["kafka", "topics", "jobmanager", "taskmanager-1"]
LIST_LENGTH = 20
CLICK_AFTER_S = 0.2
QUIET_S = 3.0


@dataclass(frozen=True)
class Catch:
    """What catching up took."""

    lists: int
    feedback: int
    messages: int
    rows: int
    wall_s: float
    cpu_s: float
    cpu_by_thread: dict[str, float]
    """CPU seconds of the threads that used most, by name; the kernel keeps 15 letters of it."""
    state_bytes_per_list: float
    """Of a checkpoint; every list of the backlog is still in its horizon."""


class Lists:
    """Served lists of seeded items with rows as the ranker sees them, encoded by the server's own code."""

    def __init__(self, prefix: str) -> None:
        app = load_app_config(CONFIG)
        self._random = np.random.default_rng(1)
        self._width = len(ranker_input_names(app.features))
        self._schema = feature_schema_hash(app.features)
        self._prefix = prefix

    def served(self, number: int) -> ServedList:
        """Return list `number`; half of its inputs are zero, as most counters of most items are."""
        rows = self._random.normal(size=(LIST_LENGTH, self._width)).astype(np.float32)
        rows[:, ::2] = 0.0
        items = self._random.integers(0, 20_000, LIST_LENGTH)
        return ServedList(
            request_id=f"{self._prefix}-{number}",
            user_id=f"user-{number % 5000}",
            surface="default",
            served_time_ms=time.time_ns() // 1_000_000,
            model_version="1.1",
            feature_schema_hash=self._schema,
            user_row=self._random.normal(size=7).astype(np.float32),
            context={"page": "home"},
            items=[RankedItem(f"item-{item}", float(self._random.normal()), "tower") for item in items],
            rows=rows,
            learn=True,
        )


def click_on(served: ServedList, place: int, event_id: str) -> bytes:
    """Return a click on the item at `place`."""
    fields = {
        "event_id": event_id,
        "user_id": served.user_id,
        "item_id": served.items[place].item_id,
        "action": "click",
    }
    times = {"event_time_ms": served.served_time_ms + 1, "request_id": served.request_id}
    return json.dumps(fields | times | {"context": {"page": "home"}}).encode()


def fill(bootstrap: str, size: int, clicked: float) -> int:
    """Write the backlog; return how many clicks stand in it."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=262_144)
    lists, dice, clicks = Lists("backlog"), random.Random(1), 0
    for number in range(size):
        served = lists.served(number)
        producer.send(SERVED, key=served.request_id.encode(), value=encode_served(served))
        if dice.random() < clicked:
            click = click_on(served, dice.randrange(LIST_LENGTH), f"click-{number}")
            producer.send(EVENTS, key=served.user_id.encode(), value=click)
            clicks += 1
    producer.flush()
    producer.close()
    return clicks


def catch_up(endpoints: Endpoints, pid: int, lists: int, feedback: int) -> Catch:
    """Wait until the job has written all samples of the backlog; return what it took from the first to the last."""
    consumer, process = KafkaConsumer(bootstrap_servers=endpoints.kafka), psutil.Process(pid)
    written = started = ended = 0
    start_s = end_s = 0.0
    before: dict[str, float] = {}
    while ended < lists + feedback:
        written = _written(consumer)
        if written and not started:
            started, start_s, before = written, time.monotonic(), thread_seconds(process)
        if written > ended:
            ended, end_s = written, time.monotonic()
        if started and time.monotonic() - end_s > 60.0:
            raise SystemExit(f"the job stopped at {ended} of {lists + feedback} samples; see the TaskManager's log")
        time.sleep(0.1)
    if started >= lists + feedback:
        raise SystemExit(f"all {started} samples were there at the first look, so there is no rate; take more --lists")
    spent = {name: seconds - before.get(name, 0.0) for name, seconds in thread_seconds(process).items()}
    consumer.close()
    share = (lists + feedback - started) / (lists + feedback)
    return Catch(
        lists=round(share * lists),
        feedback=round(share * feedback),
        messages=lists + feedback - started,
        rows=round(share * (lists * LIST_LENGTH + feedback)),
        wall_s=end_s - start_s,
        cpu_s=sum(spent.values()),
        cpu_by_thread=dict(sorted(spent.items(), key=lambda used: -used[1])[:14]),
        state_bytes_per_list=_state_bytes(endpoints) / lists,
    )


def _state_bytes(endpoints: Endpoints) -> int:
    """Return the size of the next checkpoint."""
    since_ms = time.time_ns() // 1_000_000
    while True:
        job = _flink(endpoints, "/jobs/overview")["jobs"][0]["jid"]
        newest = _flink(endpoints, f"/jobs/{job}/checkpoints")["latest"]["completed"]
        if newest and newest["trigger_timestamp"] > since_ms:
            return int(newest["state_size"])
        time.sleep(0.5)


def _flink(endpoints: Endpoints, path: str) -> Any:
    with urllib.request.urlopen(f"http://{endpoints.flink}{path}", timeout=10) as response:
        return json.load(response)


def thread_seconds(process: psutil.Process) -> dict[str, float]:
    """Return CPU seconds by thread name."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for thread in process.threads():
        try:
            name = Path(f"/proc/{process.pid}/task/{thread.id}/comm").read_text().strip()
        except OSError:  # It ended since.
            continue
        seconds[name] += thread.user_time + thread.system_time
    return seconds


def live_latencies_ms(bootstrap: str, per_s: float, seconds: float) -> list[float]:
    """Serve and click live; return from each click's time in Kafka to that of its correction, sorted."""
    producer, consumer = KafkaProducer(bootstrap_servers=bootstrap), KafkaConsumer(bootstrap_servers=bootstrap)
    partitions = _partitions()
    consumer.assign(partitions)
    consumer.seek_to_end(*partitions)
    for partition in partitions:
        consumer.position(partition)
    size = int(per_s * seconds)
    writer = threading.Thread(target=_write_live, args=(producer, per_s, size))
    writer.start()
    latencies = [latency for latency, _ in zip(_corrections(consumer), range(size), strict=False)]
    writer.join()
    producer.close()
    consumer.close()
    return sorted(latencies)


def _write_live(producer: KafkaProducer, per_s: float, size: int) -> None:
    lists, waiting, start_s = Lists("live"), [], time.monotonic()
    for number in range(size):
        time.sleep(max(0.0, start_s + number / per_s - time.monotonic()))
        waiting.append(lists.served(number))
        producer.send(SERVED, key=waiting[-1].request_id.encode(), value=encode_served(waiting[-1]))
        if len(waiting) > CLICK_AFTER_S * per_s:
            _click(producer, waiting.pop(0))
    for served in waiting:
        _click(producer, served)
    producer.flush()


def _click(producer: KafkaProducer, served: ServedList) -> None:
    producer.send(EVENTS, key=served.user_id.encode(), value=click_on(served, 3, f"click-{served.request_id}"))


def _corrections(consumer: KafkaConsumer) -> Iterator[float]:
    """Yield the latency of each live correction; end where none comes any more."""
    newest_s = time.monotonic()
    while time.monotonic() - newest_s < 10 * QUIET_S:
        for records in consumer.poll(timeout_ms=100).values():
            for record in records:
                sample = json.loads(record.value)
                if sample["kind"] == "correction" and sample["request_id"].startswith("live-"):
                    newest_s = time.monotonic()
                    yield float(record.timestamp - sample["broker_time_ms"])


def _partitions() -> list[TopicPartition]:
    return [TopicPartition(SAMPLES, number) for number in range(4)]


def _written(consumer: KafkaConsumer) -> int:
    return sum(consumer.end_offsets(_partitions()).values())


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie."""
    return values[min(len(values) - 1, int(share * len(values)))]


def report(catch: Catch, latencies: Sequence[float], per_s: float) -> dict[str, Any]:
    """Print the figures and return them."""
    print(f"backlog: {catch.lists:,} lists of {LIST_LENGTH} and {catch.feedback:,} clicks in {catch.wall_s:.1f} s")
    print(f"  {catch.messages / catch.wall_s:,.0f} messages/s, {catch.rows / catch.wall_s:,.0f} rows/s")
    per_rows, per_messages = 1e5 * catch.cpu_s / catch.rows, 1e5 * catch.cpu_s / catch.messages
    print(f"  TaskManager CPU: {per_rows:.2f} s per 100,000 rows (aim 5), {per_messages:.1f} s per 100,000 messages")
    print("  CPU seconds by thread: " + ", ".join(f"{name} {spent:.1f}" for name, spent in catch.cpu_by_thread.items()))
    print(f"  state: {catch.state_bytes_per_list:,.0f} bytes a list")
    figures = asdict(catch) | {"cpu_s_per_100k_rows": per_rows, "cpu_s_per_100k_messages": per_messages}
    if latencies:
        p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
        print(
            f"click -> positive sample at {per_s:g} lists and clicks/s: p50 {p50:.0f} ms, p99 {p99:.0f} ms (100, 300)"
        )
        figures |= {"latency_p50_ms": p50, "latency_p99_ms": p99, "live_per_s": per_s}
    return figures


def sample_job_part() -> Part:
    """Return the submission of the sample job alone."""
    command = python_module("streams", "--job", "sample")
    return Part("sample-job", command, needs=("topics", "jobmanager", "taskmanager-1"), environment=flink_environment)


def main() -> int:
    """Measure the backlog, then live."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=int, default=20_000, help="lists of the backlog")
    parser.add_argument("--clicked", type=float, default=0.2, help="share of the lists that get a click")
    parser.add_argument("--rate", type=float, default=50.0, help="lists and clicks a second, live")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the live part; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with LocalStack(CONFIG, Path(folder), parts=["kafka", "topics"]) as stack:
            feedback = fill(stack.start().kafka, options.lists, options.clicked)
        with LocalStack(CONFIG, Path(folder), parts=SERVERS, extra_parts=[sample_job_part()]) as stack:
            endpoints = stack.start()
            catch = catch_up(endpoints, stack.pid_of("taskmanager-1"), options.lists, feedback)
            seconds = options.seconds
            latencies = live_latencies_ms(endpoints.kafka, options.rate, seconds) if seconds else []
    figures = report(catch, latencies, options.rate)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
