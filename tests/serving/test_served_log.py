"""Laws of what is written about served lists."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from google.protobuf import json_format
from kafka.errors import KafkaTimeoutError

from protos import samples_pb2
from serving.answers import RankedItem
from serving.kafka_writer import KafkaWriter
from serving.served_log import SERVED_TOPIC, ServedList, ServedLog, encode_served
from tests.fakes import FakeProducer


def served_list(rows: int = 2) -> ServedList:
    """Return a list of `rows` items."""
    return ServedList(
        request_id="r1",
        user_id="ann",
        surface="default",
        served_time_ms=123,
        model_version="1.2",
        feature_schema_hash="abc",
        user_row=np.array([0.1], dtype=np.float32),
        context={"page": "home"},
        items=[RankedItem(f"item-{row}", 1.5, "tower") for row in range(rows)],
        rows=np.full((rows, 3), 0.1, dtype=np.float32),
        learn=True,
    )


def test_record_is_the_proto_of_record() -> None:
    """The JSON parses as `Served`, items in their positions."""
    served = json_format.Parse(encode_served(served_list()), samples_pb2.Served())
    assert [(item.item_id, item.position, item.propensity) for item in served.items] == [
        ("item-0", 0, 1.0),
        ("item-1", 1, 1.0),
    ]
    assert (served.learn, served.feature_schema_hash, dict(served.context)) == (True, "abc", {"page": "home"})


def test_fallback_list_has_items_without_rows() -> None:
    """Where no model ranked there are no inputs to log."""
    fallback = dataclasses.replace(served_list(), rows=np.zeros((0, 0), dtype=np.float32))
    served = json_format.Parse(encode_served(fallback), samples_pb2.Served())
    assert [list(item.row) for item in served.items] == [[], []]


def test_writer_sends_what_is_queued_before_it_stops() -> None:
    """A stop loses nothing that a broker takes."""
    producer = FakeProducer()
    writer = KafkaWriter(lambda: producer, 10)
    log = ServedLog(writer)
    for _ in range(3):
        log.put(served_list())
    writer.start()
    writer.stop(5.0)
    assert [(topic, key) for topic, key, _ in producer.records] == [(SERVED_TOPIC, b"r1")] * 3
    assert (writer.sent, writer.dropped, producer.is_closed) == (3, 0, True)


def test_full_queue_drops_and_counts() -> None:
    """With Kafka dead no caller waits."""
    writer = KafkaWriter(FakeProducer, 2)
    log = ServedLog(writer)
    for _ in range(5):
        log.put(served_list())
    assert writer.dropped == 3


def test_stop_with_kafka_dead_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """What the broker did not take is told; the thread ends without a traceback."""
    producer = FakeProducer()
    producer.close_error = KafkaTimeoutError("waiting")
    writer = KafkaWriter(lambda: producer, 10)
    writer.start()
    writer.stop(5.0)
    assert "stopped with records that Kafka did not take" in caplog.text


def test_record_that_kafka_does_not_take_is_counted_as_dropped() -> None:
    """A late failure moves the record from sent to dropped."""
    producer = FakeProducer()
    writer = KafkaWriter(lambda: producer, 10)
    ServedLog(writer).put(served_list())
    writer.start()
    writer.stop(5.0)
    producer.futures[0].fail(KafkaTimeoutError("too late"))
    assert (writer.sent, writer.dropped) == (0, 1)
