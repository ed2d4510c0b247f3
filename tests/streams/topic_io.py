"""What tests of the jobs need of Kafka and Flink: send records, wait for what comes out, count restarts."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from features.config import Endpoints
from features.feature_topics import FEATURE_TOPICS, TOPIC_PREFIX

EVENTS, BACKFILL = "headrace.events.v1", "headrace.events.backfill.v1"
ITEMS, SERVED, SAMPLES = "headrace.items.v1", "headrace.served.v1", "headrace.samples.v1"
DEAD_LETTERS = "headrace.events.dlq.v1"
_PARTITIONS = 4
_WAIT_S = 120.0


@dataclass(frozen=True)
class Sent:
    """Where a record went."""

    topic: str
    partition: int
    offset: int
    record_time_ms: int


class TopicIo:
    """Writes to the jobs' inputs and follows one output topic from now on."""

    def __init__(self, endpoints: Endpoints, output: str) -> None:
        self._read = row_reader(output)
        # Compressed, for only so does a record that is too large get past the topic's own limit.
        self._producer = KafkaProducer(bootstrap_servers=endpoints.kafka, compression_type="gzip")
        self._consumer = KafkaConsumer(bootstrap_servers=endpoints.kafka, enable_auto_commit=False)
        partitions = [TopicPartition(output, number) for number in range(_PARTITIONS)]
        self._consumer.assign(partitions)
        self._consumer.seek_to_end(*partitions)
        for partition in partitions:
            self._consumer.position(partition)  # Fixes "the end" now, not at the first poll.

    def send(self, topic: str, key: str, value: bytes | dict[str, Any] | None) -> Sent:
        """Write one record and wait for its acknowledgement."""
        encoded = json.dumps(value).encode() if isinstance(value, dict) else value
        metadata = self._producer.send(topic, key=key.encode(), value=encoded).get(30)
        return Sent(topic, metadata.partition, metadata.offset, metadata.timestamp)

    def send_all(self, topic: str, records: list[dict[str, Any]]) -> None:
        """Write events in this order, keyed by user."""
        for record in records:
            self._producer.send(topic, key=record["user_id"].encode(), value=json.dumps(record).encode())
        self._producer.flush()

    def follow(
        self, is_complete: Callable[[list[dict[str, Any]]], Any], key: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows of `key`, all rows without one, once `is_complete` says so.

        Raises:
            AssertionError: it never does.
        """
        rows: list[dict[str, Any]] = []
        deadline = time.monotonic() + _WAIT_S
        while not is_complete(rows):
            assert time.monotonic() < deadline, f"incomplete after {_WAIT_S:g} s: {str(rows[-2:])[:1000]}"
            for records in self._consumer.poll(timeout_ms=100).values():
                rows += [self._read(r.value) for r in records if r.value and key in (None, (r.key or b"").decode())]
        return rows

    def close(self) -> None:
        """Let go of both clients."""
        self._producer.close()
        self._consumer.close()


def row_reader(topic: str) -> Callable[[bytes], dict[str, Any]]:
    """Return what makes a dictionary of a record of `topic`: feature rows are packed, all else is JSON."""
    view = next((entry for entry in FEATURE_TOPICS if topic.startswith(f"{TOPIC_PREFIX}{entry.view}.")), None)
    return json.loads if view is None else lambda value: dict(msgspec.to_builtins(view.read(value)))


def restarts(endpoints: Endpoints) -> int:
    """Count the restarts of all running jobs."""
    return sum(
        int(flink_json(endpoints, f"/jobs/{job['jid']}/metrics?get=numRestarts")[0]["value"])
        for job in flink_json(endpoints, "/jobs/overview")["jobs"]
        if job["state"] == "RUNNING"
    )


def flink_json(endpoints: Endpoints, path: str) -> Any:
    """Ask the JobManager."""
    with urllib.request.urlopen(f"http://{endpoints.flink}{path}", timeout=10) as response:
        return json.load(response)
