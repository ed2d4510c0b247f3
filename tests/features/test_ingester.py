"""Every row reaches the store once it is the newest, and nothing is committed before it is written."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore
from kafka import KafkaProducer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaTimeoutError
from redis import Redis, RedisError

from features.config import AppConfig, FeaturesConfig
from features.consumed_items import consumed_key
from features.errors import WentBackError
from features.feast_rows import EncodedRow, FeastRows
from features.feature_topics import FEATURE_TOPICS, TOPIC_BY_VIEW, FeatureTopic
from features.ingester import Ingester, backoff_s, newest_rows, next_poll_size
from features.ingester_stats import IngesterStats
from features.model_inputs import user_service
from features.online_writer import Claim, OnlineWriter, PreparedRows
from features.packed_rows import unpack_list
from features.store import open_store
from tests.fakes import FakeFeatureConsumer
from tests.features.feature_records import NOW_MS, Record, counter_value, decoded, history_value, shown_value
from tests.running_stack import RunningStack, wait_for

COUNTERS = TopicPartition("headrace.features.user_activity.v1", 0)


class FakeStop:
    """Stops after a number of looks, or when its owner says so; never sleeps."""

    def __init__(self, looks: int = 50) -> None:
        self.looks = looks
        self.waits: list[float | None] = []

    def is_set(self) -> bool:
        """Count a look."""
        self.looks -= 1
        return self.looks < 0

    def wait(self, timeout: float | None = None) -> bool:
        """Note the wait and return at once."""
        self.waits.append(timeout)
        return self.is_set()


class FakeWriter:
    """A store in memory whose next calls raise the errors it is given."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], EncodedRow] = {}
        self.offsets: dict[str, int] = {}
        self.errors: list[Exception] = []
        self.refused_claims = 0
        self.claims = 0
        self.is_released = False
        self.calls: list[str] = []

    def try_claim(self) -> Claim | None:
        """Claim, but for the refusals asked for."""
        if self.refused_claims:
            self.refused_claims -= 1
            return None
        self.claims += 1
        return Claim(self.claims, 0, dict(self.offsets))

    noted_round = 0
    is_settled = True
    exchange_ms = 1.0

    def rise_above(self, version_ms: int, epoch: int) -> None:
        """Nothing to rise above."""

    def encode_record(self, entry: FeatureTopic, record: Any, config: FeaturesConfig) -> Any:
        """Read the row and keep it as it is."""
        self.calls.append("encode")
        return FeastRows("p").encode_record(entry, record, config)

    def prepare(self, rows: Sequence[Any]) -> Any:
        """Keep the rows as they are."""
        return PreparedRows(rows, [], len(rows), b"")

    def start_write(self, prepared: PreparedRows, offsets: Mapping[str, int]) -> None:
        """Note the start."""
        self.calls.append("start")

    def write(self, prepared: PreparedRows, offsets: Mapping[str, int]) -> None:
        """Keep rows and offsets, or raise the next error and keep nothing."""
        self.calls.append("write")
        if self.errors:
            raise self.errors.pop(0)
        rows: Sequence[Any] = prepared.rows
        self.rows.update({(row.view, row.entity_id): row for row in rows})
        self.offsets.update(offsets)

    def beat(self) -> None:
        """Live."""

    def release(self) -> None:
        """Note the end."""
        self.is_released = True


def topics_with(records: Sequence[Record]) -> dict[tuple[str, int], list[Any]]:
    """All feature topics, one partition each, `records` in user counters."""
    numbered = [Record(r.key, r.value, r.timestamp, offset) for offset, r in enumerate(records)]
    return {TopicPartition(topic.topic, 0): [] for topic in FEATURE_TOPICS} | {COUNTERS: numbered}


def row_record(user_id: str, events: float) -> Record:
    """A record of a user's counters."""
    return Record(user_id.encode(), counter_value(user_id, events))


def run_ingester(
    records: Sequence[Record], writer: FakeWriter, tmp_path: Path, stop: FakeStop | None = None, poll_size: int = 100
) -> FakeStop:
    """Run over `records` until the fake stop."""
    stop = stop or FakeStop()
    consumer = FakeFeatureConsumer(topics_with(records), poll_size)
    stats = IngesterStats(tmp_path / "ingester.json", now_ms=lambda: NOW_MS)
    Ingester(consumer, writer, FeaturesConfig(), stats, stop, lambda: None).run()
    return stop


def encoded(view: str, key: str, value: bytes) -> EncodedRow:
    """The row of a record as it is written."""
    return FeastRows("p").encode_record(TOPIC_BY_VIEW[view], Record(key.encode(), value), FeaturesConfig())


def events_of(writer: FakeWriter) -> dict[str, float]:
    """The stored number of events by user."""
    found: dict[str, float] = {}
    for (_, user_id), row in writer.rows.items():
        found[user_id] = float(unpack_list(row.values[0])[1])
    return found


def test_the_newest_row_of_a_key_is_kept() -> None:
    """Views do not shadow each other."""
    rows = [encoded("user_activity", "u1", counter_value("u1", n)) for n in (1.0, 2.0)]
    other = encoded("item_activity", "u1", counter_value("u1", 9.0))
    assert newest_rows([rows[0], other, rows[1]]) == [rows[1], other]


def test_consumed_items_of_left_out_rows_are_kept() -> None:
    """More events than a history holds may arrive between two rounds."""
    histories = [[("a", 1, "e1")], [("b", 2, "e2")], [("a", 3, "e3")]]
    rows = [encoded("user_activity", "u1", history_value("u1", entries)) for entries in histories]
    scores = newest_rows(rows)[0].consumed.arguments.split(b"\r\n")
    assert list(zip(scores[3::4], scores[1::4], strict=True)) == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]


def test_waits_double_up_to_a_second() -> None:
    """A healed store is found within a second, a dead one is not hammered."""
    assert [backoff_s(attempt) for attempt in (0, 1, 2, 10, 10_000)] == [0.05, 0.1, 0.2, 1.0, 1.0]


def test_slow_transactions_shrink_and_quick_ones_grow() -> None:
    """Down within a few rounds, up slowly, within bounds."""
    assert [next_poll_size(1000, 25.0), next_poll_size(520, 25.0)] == [666, 500]
    assert [next_poll_size(500, 9.0), next_poll_size(990, 9.0)] == [520, 1000]


def test_every_row_arrives_with_its_offset(tmp_path: Path) -> None:
    """Over several polls."""
    writer = FakeWriter()
    run_ingester([row_record("u1", 1.0), row_record("u2", 2.0), row_record("u1", 3.0)], writer, tmp_path, poll_size=1)
    assert events_of(writer) == {"u1": 3.0, "u2": 2.0}
    assert writer.offsets == {f"{COUNTERS.topic}:0": 3}
    assert writer.is_released


def test_rows_are_made_while_the_store_works_on_the_last_ones(tmp_path: Path) -> None:
    """At most one write is open, and the last one does not wait for new records."""
    writer = FakeWriter()
    run_ingester([row_record("u1", 1.0), row_record("u2", 2.0)], writer, tmp_path, poll_size=1)
    assert writer.calls == ["encode", "start", "encode", "write", "start", "write"]


def test_a_stop_finishes_an_open_write(tmp_path: Path) -> None:
    """What was sent is answered before the end."""
    writer = FakeWriter()
    run_ingester([row_record("u1", 1.0)], writer, tmp_path, FakeStop(looks=5))
    assert writer.calls == ["encode", "start", "write"]


def test_a_broker_that_fails_with_a_write_open_skips_nothing(tmp_path: Path) -> None:
    """The open write is forgotten; the offsets in the store say whether it happened."""
    writer = FakeWriter()
    consumer = FailingConsumer(topics_with([row_record("u1", 1.0), row_record("u2", 2.0)]), poll_size=1)
    stats = IngesterStats(tmp_path / "ingester.json", now_ms=lambda: NOW_MS)
    Ingester(consumer, writer, FeaturesConfig(), stats, FakeStop(), lambda: None).run()
    assert (writer.claims, events_of(writer)) == (2, {"u1": 1.0, "u2": 2.0})


def test_a_dead_store_is_waited_for_and_nothing_is_skipped(tmp_path: Path) -> None:
    """The same rows are written once it answers."""
    writer = FakeWriter()
    writer.errors = [RedisError("down")] * 4
    stop = run_ingester([row_record("u1", 1.0)], writer, tmp_path)
    assert events_of(writer) == {"u1": 1.0}
    assert stop.waits == [0.05, 0.1, 0.2, 0.4]


def test_a_stop_while_the_store_is_dead_commits_nothing(tmp_path: Path) -> None:
    """The next start reads the rows again."""
    writer = FakeWriter()
    writer.errors = [RedisError("down")] * 99
    run_ingester([row_record("u1", 1.0)], writer, tmp_path, FakeStop(looks=12))
    assert (writer.rows, writer.offsets) == ({}, {})


def test_a_store_that_went_back_is_filled_again(tmp_path: Path) -> None:
    """Claiming again brings the offsets that the store still covers."""
    writer = FakeWriter()
    writer.errors = [WentBackError("flushed")]
    run_ingester([row_record("u1", 1.0), row_record("u2", 2.0)], writer, tmp_path, poll_size=1)
    assert writer.claims == 2
    assert events_of(writer) == {"u1": 1.0, "u2": 2.0}


def test_a_restart_goes_on_behind_the_committed_rows(tmp_path: Path) -> None:
    """What lies before the offset is not read again."""
    writer = FakeWriter()
    writer.offsets = {f"{COUNTERS.topic}:0": 1}
    run_ingester([row_record("u1", 1.0), row_record("u2", 2.0)], writer, tmp_path)
    assert events_of(writer) == {"u2": 2.0}


def test_a_second_ingester_waits_for_the_first(tmp_path: Path) -> None:
    """It writes nothing until its claim is granted."""
    writer = FakeWriter()
    writer.refused_claims = 3
    stop = run_ingester([row_record("u1", 1.0)], writer, tmp_path)
    assert stop.waits == [1.0, 1.0, 1.0]
    assert events_of(writer) == {"u1": 1.0}


def test_a_bad_record_is_counted_and_passed_by(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its neighbours arrive, its offset is committed, equal reasons are logged once."""
    writer = FakeWriter()
    bad = Record(b"u1", b"{")
    run_ingester([bad, bad, row_record("u2", 2.0), bad], writer, tmp_path)
    assert events_of(writer) == {"u2": 2.0}
    assert writer.offsets == {f"{COUNTERS.topic}:0": 4}
    assert sum("left out" in message for message in caplog.messages) == 1


def test_a_bad_newest_record_leaves_the_one_before(tmp_path: Path) -> None:
    """Damage costs one record, not its key."""
    writer = FakeWriter()
    run_ingester([row_record("u1", 1.0), row_record("u1", 2.0), Record(b"u1", b"{")], writer, tmp_path)
    assert events_of(writer) == {"u1": 2.0}


def test_missing_topics_are_waited_for(tmp_path: Path) -> None:
    """A stack whose topics are not created yet is no error."""
    stop = FakeStop(looks=5)
    consumer = FakeFeatureConsumer({})
    stats = IngesterStats(tmp_path / "ingester.json", now_ms=lambda: NOW_MS)
    Ingester(consumer, FakeWriter(), FeaturesConfig(), stats, stop, pytest.fail).run()
    assert stop.waits


def test_the_stats_file_says_what_happened(tmp_path: Path) -> None:
    """Rows by view, bad records and lag by topic, as `headrace status` reads them."""
    times = iter(range(NOW_MS, NOW_MS + 10**9, 700))
    stats = IngesterStats(tmp_path / "ingester.json", now_ms=lambda: next(times), log=lambda: {"rows": 3})
    stats.count_records(3, 1)
    stats.count_write([decoded("user_activity", "u1", counter_value("u1", 1.0))], 2.5)
    stats.report("ingesting", lambda: {"t": 4})
    said = json.loads((tmp_path / "ingester.json").read_text())
    assert (said["state"], said["records"], said["bad_records"], said["rows_written"]) == ("ingesting", 3, 1, 1)
    assert said["log"] == {"rows": 3}
    assert (said["lag"], said["rows"], said["write_ms"]["p50"]) == ({"t": 4}, {"user_activity": 1}, 2.5)
    assert said["event_to_feature_ms"]["p50"] == 700


def test_a_flushed_redis_is_filled_again(tmp_path: Path, redis_client: Any) -> None:
    """On a real one: the rows and offsets are gone together, so everything is read again."""
    records = topics_with([row_record("u1", 1.0), row_record("u2", 2.0)])
    consumer = FlushingConsumer(records, redis_client)
    writer = OnlineWriter(redis_client, FeastRows("headrace"), "headrace", 2000, "c")
    stats = IngesterStats(tmp_path / "ingester.json", now_ms=lambda: NOW_MS)
    Ingester(consumer, writer, FeaturesConfig(), stats, FakeStop(), lambda: None).run()
    assert consumer.has_flushed
    for user_id in ("u1", "u2"):
        assert redis_client.hlen(FeastRows("headrace").key("user_activity", user_id)) == 9


def test_kafka_errors_start_over_from_the_stored_offsets(tmp_path: Path) -> None:
    """A broker that does not answer is no reason to end, nor is a statistics file that cannot be written."""
    writer = FakeWriter()
    consumer = UnansweredConsumer(topics_with([row_record("u1", 1.0)]))
    stats = IngesterStats(tmp_path / "missing" / "ingester.json", now_ms=lambda: NOW_MS)
    Ingester(consumer, writer, FeaturesConfig(), stats, FakeStop(), lambda: None).run()
    assert consumer.errors == []
    assert events_of(writer) == {"u1": 1.0}


def test_a_damaged_record_is_told_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What stands before it is written, and nobody is told that Kafka was away."""
    writer = FakeWriter()
    consumer = FailingConsumer(topics_with([row_record("u1", 1.0)]))
    consumer.error = CorruptRecordError("failed crc check")
    stats = IngesterStats(tmp_path / "missing" / "ingester.json", now_ms=lambda: NOW_MS)
    Ingester(consumer, writer, FeaturesConfig(), stats, FakeStop(), lambda: None).run()
    assert events_of(writer) == {"u1": 1.0}
    assert "a record is damaged where Kafka keeps it" in caplog.text
    assert "does not answer" not in caplog.text


class UnansweredConsumer(FakeFeatureConsumer):
    """Fails the first question for partitions."""

    def __init__(self, records: dict[tuple[str, int], list[Any]]) -> None:
        super().__init__(records)
        self.errors = [KafkaTimeoutError("no metadata")]

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """Raise, then answer."""
        if self.errors:
            raise self.errors.pop()
        return super().partitions_for_topic(topic)


class FailingConsumer(FakeFeatureConsumer):
    """Fails the second poll, once."""

    polls = 0
    error: Exception = KafkaTimeoutError("no answer")

    def poll(self, timeout_ms: int = 0, max_records: int = 0) -> dict[tuple[str, int], list[Any]]:
        """Raise at the second."""
        self.polls += 1
        if self.polls == 2:
            raise self.error
        return super().poll(timeout_ms, max_records)


class FlushingConsumer(FakeFeatureConsumer):
    """Flushes Redis behind the first record."""

    def __init__(self, records: dict[tuple[str, int], list[Any]], redis_client: Any) -> None:
        super().__init__(records, poll_size=1)
        self._redis_client = redis_client
        self.has_flushed = False

    def poll(self, timeout_ms: int = 0, max_records: int = 0) -> dict[tuple[str, int], list[Any]]:
        """Flush before the second record."""
        if self.positions[COUNTERS] == 1 and not self.has_flushed:
            self.has_flushed = True
            self._redis_client.flushall()
        return super().poll(timeout_ms, max_records)


@pytest.fixture
def produce(stack: RunningStack) -> Iterator[Callable[[str, str, bytes], None]]:
    """Writes a record of a feature topic: (view, key, value)."""
    producer = KafkaProducer(bootstrap_servers=stack.endpoints.kafka, acks="all")

    def send(view: str, key: str, value: bytes) -> None:
        producer.send(TOPIC_BY_VIEW[view].topic, key=key.encode(), value=value).get(timeout=30)

    yield send
    producer.close(timeout=10)


@pytest.fixture
def store(stack: RunningStack, app: AppConfig) -> FeatureStore:
    """A stock Feast store of the running stack."""
    return open_store(stack.endpoints, app)


def read_row(store: FeatureStore, service: str, entity: dict[str, str]) -> dict[str, Any]:
    """One row through Feast's own read."""
    read = store.get_online_features(features=store.get_feature_service(service), entity_rows=[entity]).to_dict()
    return {name: values[0] for name, values in read.items()}


@pytest.mark.stack
def test_feast_reads_what_came_over_kafka(
    stack: RunningStack, app: AppConfig, store: FeatureStore, produce: Callable[[str, str, bytes], None]
) -> None:
    """All user views, equal to the record, and the consumed set beside them."""
    user_id = f"user-{uuid.uuid4().hex}"
    values = {
        "user_activity": history_value(user_id, [("a", 5, "e1"), ("b", 9, "e2")]),
        "user_exposure": shown_value(user_id, [("a", 5)]),
    }
    expected: dict[str, Any] = {"user_id": user_id}
    for view, value in values.items():
        produce(view, user_id, value)
        expected |= decoded(view, user_id, value).fields
    wait_for(lambda: read_row(store, user_service(app.features), {"user_id": user_id}) == expected, "the row in Feast")
    host, port = stack.endpoints.redis.split(":")
    with Redis(host, int(port)) as client:
        assert client.zrange(consumed_key("headrace", user_id), 0, -1) == [b"a", b"b"]


@pytest.mark.stack
def test_a_killed_ingester_loses_nothing_and_versions_still_rise(
    stack: RunningStack, store: FeatureStore, produce: Callable[[str, str, bytes], None]
) -> None:
    """A row written while it is down arrives after its restart, with a newer version."""
    item_id, stats_path = f"item-{uuid.uuid4().hex}", Path(stack.endpoints.state) / "ingester.json"

    def produced_version(events: float) -> int:
        produce("item_activity", item_id, counter_value(item_id, events))
        return wait_for(lambda: stored_version(store, item_id, events), "the row in Feast")

    first_version, first_pid = produced_version(1.0), json.loads(stats_path.read_text())["pid"]
    os.kill(first_pid, signal.SIGKILL)
    assert produced_version(2.0) > first_version
    wait_for(lambda: json.loads(stats_path.read_text())["pid"] != first_pid, "a new ingester")


def stored_version(store: FeatureStore, item_id: str, events: float) -> int | None:
    """Feast's event timestamp (microseconds) of an item's row once its newest count is `events`."""
    service = max(store.list_feature_services(), key=lambda service: "item" in service.name)
    response: Any = store.get_online_features(features=service, entity_rows=[{"item_id": item_id}])
    numbers = response.to_dict()["item_counters"][0]
    if not numbers or numbers[1] != events:
        return None
    column = list(response.proto.metadata.feature_names.val).index("item_counters")
    stamp: int = response.proto.results[column].event_timestamps[0].ToMicroseconds()
    return stamp
