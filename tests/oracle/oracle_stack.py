"""The stack under the oracle: its configuration, what is sent to it, the log it leaves, and when its work is done."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import RetriableError
from redis import Redis

from compose.local_stack import LocalStack
from features.config import Endpoints
from tests.oracle.plain_events import Record
from tests.oracle.stream_maker import Kill, Stream
from tests.running_stack import ROOT, wait_for

PARTS = (
    *("kafka", "redis", "jobmanager", "taskmanager-1", "taskmanager-2"),
    *("topics", "features-apply", "jobs", "ingester"),
)
"""All but trainer and server."""
EVENTS, BACKFILL = "headrace.events.v1", "headrace.events.backfill.v1"
ITEMS, SERVED = "headrace.items.v1", "headrace.served.v1"
SAMPLES, DEAD_LETTERS = "headrace.samples.v1", "headrace.events.dlq.v1"
VIEWS = ("user_activity", "user_exposure", "item_activity", "item_exposure", "global_activity")
JOBS = {"feature": (EVENTS, BACKFILL, ITEMS, SERVED), "sample": (EVENTS, BACKFILL, SERVED)}
"""Inputs of the jobs."""
_SETTLE_S = 240.0


@dataclass(frozen=True)
class OracleStack:
    """A started stack and the configuration as plain data."""

    local: LocalStack
    config_path: Path
    config: Mapping[str, Any]
    endpoints: Endpoints


def write_config(folder: Path) -> Path:
    """Write the shipped configuration with `declared.yaml` laid over it."""
    shipped = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
    declared = yaml.safe_load(Path(__file__).with_name("declared.yaml").read_text(encoding="utf-8"))
    path = folder / "headrace.yaml"
    path.write_text(yaml.safe_dump(_laid_over(shipped, declared)), encoding="utf-8")
    return path


def _laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}


class TopicLog:
    """Reads a topic on from where it was: every record between two calls, each once."""

    def __init__(self, bootstrap: str, topic: str, from_start: bool = True) -> None:
        self._consumer: Any = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        self._parts = [TopicPartition(topic, n) for n in sorted(self._consumer.partitions_for_topic(topic))]
        self._consumer.assign(self._parts)
        (self._consumer.seek_to_beginning if from_start else self._consumer.seek_to_end)(*self._parts)
        for part in self._parts:
            self._consumer.position(part)

    def read_new(self) -> list[Record]:
        """Return what was written since the last call."""
        ends = self._consumer.end_offsets(self._parts)
        records: list[Record] = []
        while any(self._consumer.position(part) < ends[part] for part in self._parts):
            for polled in self._consumer.poll(timeout_ms=200).values():
                records += [
                    Record(r.topic, r.partition, r.offset, r.timestamp, (r.key or b"").decode(), r.value)
                    for r in polled
                ]
        return records

    def close(self) -> None:
        """Let go of the client."""
        self._consumer.close()


def play(
    stack: OracleStack, streams: Sequence[Stream], kills: Sequence[Kill] = (), say: Callable[[str], None] = print
) -> None:
    """Send streams at once and kill parts with -9 on the way; return when the broker has everything."""
    turns: list[tuple[float, Any]] = [
        (turn / len(stream.steps), step) for stream in streams for turn, step in enumerate(stream.steps)
    ]
    turns += [(kill.at, kill) for kill in kills]
    producer = KafkaProducer(bootstrap_servers=stack.endpoints.kafka, linger_ms=5)
    for _, one in sorted(turns, key=lambda turn: turn[0]):
        if isinstance(one, Kill):
            producer.flush()
            say(f"  kill -9 {kill_part(stack, one.part)} at {one.at:.0%}")
        else:
            producer.send(one.topic, value=one.value, key=one.key.encode(), partition=one.partition)
    producer.flush()
    producer.close()


def kill_part(stack: OracleStack, part: str) -> str:
    """Kill the ingester or the TaskManager that runs the feature job; return its name."""
    name = busy_taskmanager(stack.endpoints) if part == "taskmanager" else part
    wait_for(lambda: _kill_if_up(stack, name), f"{name} being up", timeout_s=120)
    return name


def _kill_if_up(stack: OracleStack, name: str) -> bool:
    if not any(status.name == name and status.is_up for status in stack.local.statuses):
        return False
    try:
        os.kill(stack.local.pid_of(name), signal.SIGKILL)
    except ProcessLookupError:  # It died a moment ago, and nobody has noticed yet.
        return False
    return True


def busy_taskmanager(endpoints: Endpoints) -> str:
    """Return the name of the TaskManager that runs the feature job."""

    def busy() -> str:
        jobs = _flink(endpoints, "/jobs/overview")["jobs"]
        job_id = next((j["jid"] for j in jobs if "feature" in j["name"] and j["state"] == "RUNNING"), None)
        if job_id is None:
            return ""
        vertex = _flink(endpoints, f"/jobs/{job_id}")["vertices"][0]["id"]
        subtasks = _flink(endpoints, f"/jobs/{job_id}/vertices/{vertex}")["subtasks"]
        return str(subtasks[0].get("taskmanager-id", "")) if subtasks[0]["status"] == "RUNNING" else ""

    return wait_for(busy, "a running feature job", timeout_s=120, pause_s=0.3)


def _flink(endpoints: Endpoints, path: str) -> Any:
    with urllib.request.urlopen(f"http://{endpoints.flink}{path}", timeout=10) as response:
        return json.load(response)


def wait_settled(
    stack: OracleStack, jobs: Sequence[str] = ("feature", "sample"), timeout_s: float = _SETTLE_S
) -> float:
    """Wait until all that was sent has gone through the jobs into Redis; return the seconds it took.

    A job commits offsets when a checkpoint is complete: then all records before them have gone through every operator,
    and the sinks were flushed. Nothing is on its way any more, so one comparison is enough.
    """
    started_s = time.monotonic()
    for job in jobs:
        wait_committed(stack, f"{stack.config['name']}-{job}-job", JOBS[job], timeout_s)
    wait_for(lambda: _is_ingested(stack), "the ingester at the end of all feature topics", timeout_s, pause_s=0.2)
    return time.monotonic() - started_s


def wait_committed(stack: OracleStack, group: str, topics: Sequence[str], timeout_s: float = _SETTLE_S) -> None:
    """Wait until a job has a checkpoint behind all records that its inputs hold now; others may come meanwhile."""
    ends = _ends(stack.endpoints, topics)
    admin = KafkaAdminClient(bootstrap_servers=stack.endpoints.kafka)
    try:
        is_done = partial(_is_committed, admin, group, ends)
        wait_for(is_done, f"a checkpoint of {group} behind all records", timeout_s, pause_s=0.3)
    finally:
        admin.close()


def _is_committed(admin: Any, group: str, ends: Mapping[TopicPartition, int]) -> bool:
    try:
        committed = admin.list_group_offsets({group: None})[group]
    except RetriableError:  # Nobody has committed yet, and the broker is about to make the topic of commits.
        return False
    return all(part in committed and committed[part].offset >= end for part, end in ends.items())


def _is_ingested(stack: OracleStack) -> bool:
    host, port = stack.endpoints.redis.split(":")
    with Redis(host, int(port)) as client:
        stored = client.hgetall(f"headrace:{stack.config['name']}:ingester")
    ends = _ends(stack.endpoints, [f"headrace.features.{view}.v1" for view in VIEWS])
    return all(int(stored.get(f"{part.topic}:{part.partition}".encode(), 0)) >= end for part, end in ends.items())


def _ends(endpoints: Endpoints, topics: Sequence[str]) -> dict[TopicPartition, int]:
    """Return the ends of the partitions that hold anything."""
    consumer: Any = KafkaConsumer(bootstrap_servers=endpoints.kafka, enable_auto_commit=False)
    try:
        parts = [TopicPartition(topic, n) for topic in topics for n in sorted(consumer.partitions_for_topic(topic))]
        return {part: end for part, end in consumer.end_offsets(parts).items() if end}
    finally:
        consumer.close()
