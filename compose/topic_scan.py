"""Everything that a topic holds now, from its beginning to the end that it has when the reading starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from compose.errors import StackError, StackNotRunningError
from features.kafka_connection import kafka_settings, partitions_of

_SILENCE_S = 30.0
"""Longest wait for the next record before the reading is given up."""


def scan_topic(bootstrap: str, topic: str, since_ms: int | None = None) -> Iterator[Any]:
    """Yield the records of a topic, partition by partition as they come; needs no consumer group.

    Args:
        bootstrap: `host:port[,host:port]`.
        topic: which.
        since_ms: leave out records that the broker wrote before this time.

    Raises:
        StackNotRunningError: Kafka does not answer.
        StackError: the topic does not exist.
    """
    consumer: Any = None
    try:
        consumer = KafkaConsumer(
            **kafka_settings(bootstrap),
            group_id=None,
            enable_auto_commit=False,
            bootstrap_timeout_ms=5000,
            fetch_max_wait_ms=100,
        )
        yield from _records(consumer, topic, since_ms)
    except KafkaError as error:
        raise StackNotRunningError(f"no Kafka answers at {bootstrap} ({error}); `headrace up` starts it") from error
    finally:
        if consumer is not None:
            consumer.close()


def _records(consumer: Any, topic: str, since_ms: int | None) -> Iterator[Any]:
    partitions = [TopicPartition(topic, number) for number in partitions_of(consumer, topic)]
    if not partitions:
        raise StackError(f"the topic {topic} does not exist; `headrace topics create` creates it")
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    for partition, offset in _starts(consumer, partitions, ends, since_ms).items():
        consumer.seek(partition, offset)
    unread = {partition for partition in partitions if consumer.position(partition) < ends[partition]}
    heard_s = time.monotonic()
    while unread:
        for partition, records in consumer.poll(timeout_ms=500).items():
            heard_s = time.monotonic()
            yield from (record for record in records if record.offset < ends[partition])
        # The position also passes what compaction has taken away.
        unread = {partition for partition in unread if consumer.position(partition) < ends[partition]}
        if time.monotonic() - heard_s > _SILENCE_S:
            raise StackNotRunningError(f"Kafka sent nothing of {topic} for {_SILENCE_S:g} s; see `headrace status`")


def _starts(consumer: Any, partitions: list[Any], ends: dict[Any, int], since_ms: int | None) -> dict[Any, int]:
    if since_ms is None:
        return dict(consumer.beginning_offsets(partitions))
    found = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    return {part: ends[part] if found.get(part) is None else found[part].offset for part in partitions}
