"""What Kafka still has of the records that a job was made from: whether a replay would give the same state again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from features.kafka_connection import kafka_settings
from streams.errors import ClusterError
from streams.job import SqlJob


@dataclass(frozen=True)
class InputHistory:
    """What a replay of a job's inputs would lack."""

    lost: Mapping[str, int] = field(default_factory=dict)
    """Topic -> records that retention has taken and the job would need."""
    kept_from_ms: int = 0
    """Broker time of the first record kept where some were lost; 0: unknown, or nothing was lost."""
    has_output: bool = False
    """Whether the job has written anything before."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing that matters is gone."""
        return not self.lost

    def sentence(self) -> str:
        """Name the range that is gone."""
        topics = ", ".join(f"the first {count} records of {topic}" for topic, count in sorted(self.lost.items()))
        until = f" (what came before {_utc(self.kept_from_ms)})" if self.kept_from_ms else ""
        return f"Kafka no longer has {topics}{until}"


def read_history(job: SqlJob, bootstrap: str) -> InputHistory:
    """Look at a job's topics.

    Raises:
        ClusterError: Kafka does not answer.
    """
    try:
        consumer = KafkaConsumer(
            **kafka_settings(bootstrap), group_id=None, enable_auto_commit=False, bootstrap_timeout_ms=10_000
        )
    except KafkaError as error:
        raise ClusterError(f"Kafka at {bootstrap} does not answer: {error}") from error
    try:
        return history_of(job, consumer, time.time_ns() // 1_000_000)
    except KafkaError as error:
        raise ClusterError(f"Kafka at {bootstrap} does not answer: {error}") from error
    finally:
        consumer.close()


def history_of(job: SqlJob, consumer: Any, now_ms: int) -> InputHistory:
    """Return the history of a job as a consumer sees it."""
    inputs, outputs = (_partitions(consumer, topics) for topics in (job.inputs, job.outputs))
    gone = {part: offset for part, offset in consumer.beginning_offsets(inputs).items() if offset}
    if gone and job.remembers_ms:
        # Where the record from which on all matter is not the first that is kept, what is gone does not matter. An
        # empty partition has had none of late, for its topic keeps records longer than a job remembers them.
        since = consumer.offsets_for_times(dict.fromkeys(gone, now_ms - job.remembers_ms))
        gone = {part: first for part, first in gone.items() if since.get(part) and since[part].offset == first}
    lost: dict[str, int] = {}
    for part, offset in gone.items():
        lost[part.topic] = lost.get(part.topic, 0) + offset
    firsts = consumer.offsets_for_times(dict.fromkeys(gone, 0)) if gone else {}
    kept_from_ms = max((found.timestamp for found in firsts.values() if found), default=0)
    return InputHistory(lost, kept_from_ms, any(consumer.end_offsets(outputs).values()))


def _partitions(consumer: Any, topics: Any) -> list[TopicPartition]:
    return [TopicPartition(t, number) for t in topics for number in sorted(consumer.partitions_for_topic(t) or ())]


def _utc(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ms / 1000))
