"""What the exporter tells where servers answer, and where they do not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kafka import TopicPartition
from prometheus_client.core import Metric

from compose.exporter.flink_metrics import FlinkMetrics
from compose.exporter.kafka_metrics import KafkaMetrics
from compose.exporter.redis_metrics import RedisMetrics
from compose.exporter.stack_metrics import StackMetrics
from compose.processes import record_of
from tests.compose.exporter.silent_servers import no_broker, no_redis

JOB, NOW_MS = "shop-feature-job", 100_000
ANSWERS = {
    "/overview": {"taskmanagers": 2, "slots-available": 4},
    "/jobs/overview": {
        "jobs": [
            {"jid": "old", "name": JOB, "state": "CANCELED", "start-time": 1},
            {"jid": "new", "name": JOB, "state": "RUNNING", "start-time": 2},
        ]
    },
    "/jobs/new/checkpoints": {
        "counts": {"failed": 3},
        "latest": {"completed": {"latest_ack_timestamp": 88_000, "end_to_end_duration": 250, "state_size": 4096}},
    },
    "/jobs/new/metrics?get=numRestarts": [{"id": "numRestarts", "value": "1"}],
    "/jobs/new": {"vertices": [{"id": "v"}]},
    "/jobs/new/vertices/v/subtasks/metrics": [{"id": "Source__events[1].pendingRecords"}, {"id": "busyTime"}],
    "/jobs/new/vertices/v/subtasks/metrics?get=Source__events[1].pendingRecords&agg=sum": [{"sum": 42.0}],
}


class _Broker:
    """A consumer's view of two topics, one of which is not ours."""

    def topics(self) -> set[str]:
        return {"headrace.events.v1", "other"}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0, 1}

    def end_offsets(self, parts: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {part: 10 + part.partition for part in parts}

    def beginning_offsets(self, parts: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 4)


def values_of(metrics: Iterable[Metric]) -> dict[str, float]:
    """Return every sample's value by name and label values."""
    return {
        ":".join((sample.name, *map(str, sample.labels.values()))): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def test_newest_job_of_a_name_is_told_with_lag_and_checkpoints() -> None:
    """An ended job of the same name says nothing any more."""
    told = values_of(FlinkMetrics("", ANSWERS.get, lambda: NOW_MS).collect())
    of_job = {name.removeprefix("headrace_flink_job_"): value for name, value in told.items() if JOB in name}
    assert of_job == {
        f"running:{JOB}": 1,
        f"lag_records:{JOB}": 42,
        f"restarts_total:{JOB}": 1,
        f"checkpoint_age_seconds:{JOB}": 12,
        f"checkpoint_seconds:{JOB}": 0.25,
        f"checkpoint_bytes:{JOB}": 4096,
        f"failed_checkpoints_total:{JOB}": 3,
    }


def test_topics_tell_what_was_written_and_what_is_kept() -> None:
    """Offsets are summed over partitions; topics of others are not told."""
    told = values_of(KafkaMetrics("", lambda _servers: _Broker()).collect())
    assert told == {
        "headrace_kafka_up": 1,
        "headrace_kafka_topic_records_total:headrace.events.v1": 21,
        "headrace_kafka_topic_retained_records:headrace.events.v1": 13,
        "headrace_kafka_topic_partitions:headrace.events.v1": 2,
    }


def test_silent_servers_are_told_as_down() -> None:
    """A scrape answers all the same, with 0 for who does not."""
    collectors = (KafkaMetrics("", no_broker), RedisMetrics("127.0.0.1:1", no_redis), FlinkMetrics("", lambda _: None))
    told = values_of(metric for collector in collectors for metric in collector.collect())
    assert [told[f"headrace_{name}_up"] for name in ("kafka", "redis", "flink")] == [0, 0, 0]


def test_a_part_whose_process_is_gone_is_down(tmp_path: Path) -> None:
    """The supervisor's word of a process that died since does not count; a step that is done is fine."""
    lives: dict[str, Any] = record_of(os.getpid()).to_json()
    gone = lives | {"start_ticks": lives["start_ticks"] + 1}
    parts = [
        {"name": "trainer", "state": "ready", "process": lives, "restarts": 2},
        {"name": "server", "state": "ready", "process": gone, "restarts": 0},
        {"name": "topics", "state": "done", "process": None, "restarts": 0},
    ]
    (tmp_path / "status.json").write_text(json.dumps({"parts": parts}))
    told = values_of(StackMetrics(tmp_path).collect())
    up = [told[f"headrace_stack_part_up:{name}"] for name in ("trainer", "server", "topics")]
    assert (up, told["headrace_stack_part_restarts_total:trainer"]) == ([1, 0, 1], 2)
