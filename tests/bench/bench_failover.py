"""How long features stand still when a TaskManager dies: `python tests/bench/bench_failover.py`.

Events flow at a steady rate; the TaskManager that runs the feature job is killed with -9, once with the standby that
`up` starts and once without. Silence is the longest gap between the record times of two neighbouring feature rows.
Every event sent must be in the history of its user at the end: nothing lost.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.local_stack import LocalStack  # noqa: E402
from features.feature_topics import TOPIC_BY_NAME  # noqa: E402
from streams.flink_rest import FlinkRest  # noqa: E402

EVENTS, ROWS = "headrace.events.v1", "headrace.features.user_activity.v1"
PARTS = ["kafka", "jobmanager", "taskmanager-1", "topics", "jobs"]
USERS = 50
BEFORE_S = 20.0
"""Longer than three checkpoints."""


class Sender(threading.Thread):
    """Sends events at a rate until told to stop, and remembers which.

    Args:
        bootstrap: Kafka's servers.
        rate: events per second.
    """

    def __init__(self, bootstrap: str, rate: float) -> None:
        super().__init__()
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)
        self._pause_s, self._stop_sending = 1.0 / rate, threading.Event()
        self.sent: dict[str, set[str]] = {f"u{number}": set() for number in range(USERS)}

    def run(self) -> None:
        """Send."""
        number = 0
        while not self._stop_sending.wait(self._pause_s):
            number += 1
            user_id, item_id = f"u{number % USERS}", f"i{number}"
            event = {"event_id": f"e{number}", "user_id": user_id, "item_id": item_id, "action": "click"}
            event_time_ms = time.time_ns() // 1_000_000
            value = msgspec.json.encode({**event, "event_time_ms": event_time_ms})
            self._producer.send(EVENTS, key=user_id.encode(), value=value)
            self.sent[user_id].add(item_id)
        self._producer.flush()
        self._producer.close()

    def stop(self) -> None:
        """Stop sending and wait for the acknowledgements."""
        self._stop_sending.set()
        self.join()


def silence(standby: bool, rate: float) -> dict[str, Any]:
    """Kill the TaskManager once and return the longest gap in seconds and the events that are missing at the end."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "headrace.yaml"
        data = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
        data["features"]["history_length"] = 500
        data["stack"] = {**data.get("stack", {}), "taskmanagers": 2 if standby else 1}
        config.write_text(yaml.safe_dump(data), encoding="utf-8")
        parts = [*PARTS, *(["taskmanager-2"] if standby else [])]
        with LocalStack(config, Path(folder) / "state", parts=parts) as stack:
            endpoints = stack.start()
            sender = Sender(endpoints.kafka, rate)
            sender.start()
            time.sleep(BEFORE_S)
            killed_ms = time.time_ns() // 1_000_000
            os.kill(stack.pid_of(_busy_taskmanager(endpoints.flink)), signal.SIGKILL)
            time.sleep(60.0)
            sender.stop()
            rows, times_ms = _rows(endpoints.kafka, sender.sent)
    after = [time_ms for time_ms in times_ms if time_ms >= killed_ms - 1000]
    gaps = [later - earlier for earlier, later in pairwise(after)]
    missing = sum(len(items - rows.get(user_id, set())) for user_id, items in sender.sent.items())
    return {"silence_s": max(gaps) / 1000.0, "events": sum(map(len, sender.sent.values())), "missing": missing}


def _busy_taskmanager(flink: str) -> str:
    """Return the name of the part that runs the feature job."""
    rest = FlinkRest(flink)
    job_id = next(job_id for name, job_id in rest.live_jobs().items() if name.endswith("feature-job"))
    return rest.taskmanagers_of(job_id).pop()


def _rows(bootstrap: str, sent: dict[str, set[str]]) -> tuple[dict[str, set[str]], list[int]]:
    """Return the newest history of each user, and the record times of all rows in order."""
    consumer: Any = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    parts = [TopicPartition(ROWS, number) for number in range(4)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    newest: dict[str, set[str]] = {}
    times_ms: list[int] = []
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 10.0 and any(sent[user] - newest.get(user, set()) for user in sent):
        for records in consumer.poll(timeout_ms=200).values():
            quiet_since = time.monotonic()
            times_ms += [record.timestamp for record in records]
            newest |= {r.key.decode(): set(TOPIC_BY_NAME[ROWS].read(r.value).history_item_ids) for r in records}
    consumer.close()
    return newest, sorted(times_ms)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure with and without a standby; exit 1 if anything is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="events per second")
    options = parser.parse_args(arguments)
    figures = {name: silence(standby, options.rate) for name, standby in (("standby", True), ("alone", False))}
    print(json.dumps(figures, indent=2))
    return int(any(figure["missing"] for figure in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
