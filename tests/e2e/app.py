"""What the end-to-end tests do as an app: events, lists, and reading topics back."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from kafka import KafkaConsumer

from headrace_client import Ack, Event, EventProducer, Recommender, RecommendResponse
from tests.running_stack import RunningStack
from trainer.delta_chunks import TOPIC as DELTAS_TOPIC
from trainer.delta_chunks import first_chunk_manifest
from trainer.version_topics import MODELS_TOPIC


def send_like(producer: EventProducer, user_id: str, item_id: str) -> Ack:
    """Send one like and wait for its acknowledgement."""
    return producer.send(Event(user_id=user_id, item_id=item_id, action="like")).result(30)


def read_topic(stack: RunningStack, topic: str) -> list[dict[str, Any]]:
    """Read a whole topic of JSON from the start, tombstones left out."""
    return [msgspec.json.decode(value) for value in _values(stack, topic)]


def covers(stack: RunningStack, recommender: Recommender, ack: Ack) -> RecommendResponse | None:
    """Return a reply whose version was trained on the event behind `ack`, None while there is none."""
    reply = recommender.recommend("nobody", surface="probe")
    newest_ms = {each["version"]: int(each["newest_broker_time_ms"]) for each in read_topic(stack, MODELS_TOPIC)}
    for manifest in filter(None, map(first_chunk_manifest, _values(stack, DELTAS_TOPIC))):
        newest_ms[manifest.version] = manifest.newest_broker_time_ms
    if newest_ms.get(reply.model_version, -1) < ack.record_time_ms:
        time.sleep(0.2)
        return None
    return reply


def _values(stack: RunningStack, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=stack.endpoints.kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        consumer_timeout_ms=1000,
    )
    try:
        return [record.value for record in consumer if record.value]
    finally:
        consumer.close()


def parse_version(version: str) -> tuple[int, int]:
    """Split EPOCH.SEQ."""
    epoch, sequence = version.split(".")
    return int(epoch), int(sequence)
