"""Every row reaches the store once it is the newest, and nothing is committed before it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from redis import RedisError

from features.config import FeaturesConfig
from features.errors import WentBackError
from features.feature_topics import FEATURE_TOPICS, FeatureRow
from features.ingester import Ingester, backoff_s, newest_rows
from features.ingester_stats import IngesterStats
from features.online_writer import Claim
from tests.fakes import FakeFeatureConsumer
from tests.features.feature_records import NOW_MS, Record, counter_value, decoded, history_value

COUNTERS = TopicPartition("headrace.features.user_counters.v1", 0)


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
        self.rows: dict[tuple[str, str], FeatureRow] = {}
        self.offsets: dict[str, int] = {}
        self.errors: list[Exception] = []
        self.refused_claims = 0
        self.claims = 0
        self.is_released = False

    def try_claim(self) -> Claim | None:
        """Claim, but for the refusals asked for."""
        if self.refused_claims:
            self.refused_claims -= 1
            return None
        self.claims += 1
        return Claim(self.claims, 0, dict(self.offsets))

    def write_rows(self, rows: Sequence[FeatureRow], offsets: Mapping[str, int]) -> None:
        """Keep rows and offsets, or raise the next error and keep nothing."""
        if self.errors:
            raise self.errors.pop(0)
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


def events_of(writer: FakeWriter) -> dict[str, float]:
    """The stored number of events by user."""
    found: dict[str, float] = {}
    for (_, user_id), row in writer.rows.items():
        numbers = row.fields["user_counters"]
        assert isinstance(numbers, list)
        found[user_id] = float(numbers[1])
    return found


def test_the_newest_row_of_a_key_is_kept() -> None:
    """Views do not shadow each other."""
    rows = [decoded("user_counters", "u1", counter_value("u1", n)) for n in (1.0, 2.0)]
    other = decoded("item_counters", "u1", counter_value("u1", 9.0))
    assert newest_rows([rows[0], other, rows[1]]) == [rows[1], other]


def test_consumed_items_of_left_out_rows_are_kept() -> None:
    """More events than a history holds may arrive between two rounds."""
    histories = [[("a", 1, "e1")], [("b", 2, "e2")], [("a", 3, "e3")]]
    rows = [decoded("user_history", "u1", history_value("u1", entries)) for entries in histories]
    assert newest_rows(rows)[0].consumed == {"a": 3, "b": 2}


def test_waits_double_up_to_a_second() -> None:
    """A healed store is found within a second, a dead one is not hammered."""
    assert [backoff_s(attempt) for attempt in (0, 1, 2, 10, 10_000)] == [0.05, 0.1, 0.2, 1.0, 1.0]


def test_every_row_arrives_with_its_offset(tmp_path: Path) -> None:
    """Over several polls."""
    writer = FakeWriter()
    run_ingester([row_record("u1", 1.0), row_record("u2", 2.0), row_record("u1", 3.0)], writer, tmp_path, poll_size=1)
    assert events_of(writer) == {"u1": 3.0, "u2": 2.0}
    assert writer.offsets == {f"{COUNTERS.topic}:0": 3}
    assert writer.is_released


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
    stats = IngesterStats(tmp_path / "ingester.json", now_ms=lambda: next(times))
    stats.count_records(3, 1)
    stats.count_write([decoded("user_counters", "u1", counter_value("u1", 1.0))], 2.5)
    stats.report("ingesting", lambda: {"t": 4})
    said = json.loads((tmp_path / "ingester.json").read_text())
    assert (said["state"], said["records"], said["bad_records"], said["rows_written"]) == ("ingesting", 3, 1, 1)
    assert (said["lag"], said["rows"], said["write_ms"]["p50"]) == ({"t": 4}, {"user_counters": 1}, 2.5)
    assert said["event_to_feature_ms"]["p50"] == 700
