"""What the end-to-end tests do as an app: events, lists, and reading topics back."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from kafka import KafkaConsumer

from headrace_client import Ack, Event, EventProducer, Recommender, RecommendResponse
from tests.running_stack import RunningStack


def send_like(producer: EventProducer, user_id: str, item_id: str) -> Ack:
    """Send one like and wait for its acknowledgement."""
    return producer.send(Event(user_id=user_id, item_id=item_id, action="like")).result(30)


def read_topic(stack: RunningStack, topic: str) -> list[dict[str, Any]]:
    """Read a whole topic from the start, tombstones left out."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=stack.endpoints.kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=1000,
    )
    try:
        return [msgspec.json.decode(record.value) for record in consumer if record.value]
    finally:
        consumer.close()


def covers(stack: RunningStack, recommender: Recommender, ack: Ack) -> RecommendResponse | None:
    """Return a reply whose version was trained on the event behind `ack`, None while there is none."""
    reply = recommender.recommend("nobody", surface="probe")
    version = {each["version"]: each for each in read_topic(stack, "headrace.models.v1")}.get(reply.model_version)
    if version is None or int(version["newest_broker_time_ms"]) < ack.record_time_ms:
        time.sleep(0.2)
        return None
    return reply


def parse_version(version: str) -> tuple[int, int]:
    """Split EPOCH.SEQ."""
    epoch, sequence = version.split(".")
    return int(epoch), int(sequence)
