"""What is readable online is in the log once, whatever is killed when."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import ConnectionError as RedisConnectionError

from features.config import FeaturesConfig
from features.errors import WentBackError
from features.feature_log import FeatureLog
from features.feature_log_config import FeatureLogConfig
from features.feature_log_journal import seal
from features.feature_topics import FEATURE_TOPICS, FeatureRow
from features.redis_channel import EXEC
from tests.features.feature_log_parts import Clock, LoggedStore, logged, versions
from tests.features.feature_records import NOW_MS, counter_value, decoded, history_value

VIEW = "user_activity"


class Killed(BaseException):
    """Stands for kill -9 at this point."""


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


@pytest.fixture
def start(redis_client: Any, tmp_path: Path, clock: Clock) -> Iterator[Callable[..., LoggedStore]]:
    """Starts a process's writer and log; what still runs at the end is ended."""
    started: list[LoggedStore] = []

    def start_one(**config: Any) -> LoggedStore:
        started.append(LoggedStore(redis_client, tmp_path / "log", clock, FeatureLogConfig(**config)))
        return started[-1]

    yield start_one
    for store in started:
        store.crash()


def row(events: float, user_id: str = "u1") -> FeatureRow:
    """A user's counters."""
    return decoded(VIEW, user_id, counter_value(user_id, events))


def test_a_row_lies_in_the_log_as_it_was_written(start: Callable[..., LoggedStore]) -> None:
    """Entity, every field, newest event time and version, in the hour of the version."""
    store, history = start(), decoded("user_activity", "ü", history_value("ü", [("a", 5, "e1"), ("b", 9, "e2")]))
    version_ms = store.write(history)
    store.flush()
    (found,) = logged(store.folder, "user_activity")
    assert versions(store.folder, "user_activity") == [version_ms]
    assert {**history.fields, "user_id": "ü", "event_time_ms": 9} == {
        name: value for name, value in found.items() if name != "event_timestamp"
    }
    assert list((store.folder / "user_activity").glob("date=2026-09-21/hour=*/part-*.parquet"))


@pytest.mark.parametrize("topic", FEATURE_TOPICS, ids=lambda topic: topic.view)
def test_a_deleted_row_is_a_row_of_nulls(topic: Any, start: Callable[..., LoggedStore]) -> None:
    """So that a point-in-time read behind it finds nothing, as the server did."""
    store = start()
    store.write(decoded(topic.view, "x", None))
    store.flush()
    (found,) = logged(store.folder, topic.view)
    assert {name for name, value in found.items() if value is not None} == {topic.join_key, "event_timestamp"}


def test_only_what_was_written_online_is_logged(
    start: Callable[..., LoggedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try that Redis never saw leaves no row; the one that worked leaves one."""
    store = start()
    break_transaction(store, monkeypatch, RedisConnectionError("cut"), arrives=False)
    with pytest.raises(RedisConnectionError):
        store.write(row(1.0))
    store.clock.turn(500)
    store.write(row(1.0))
    store.flush()
    assert versions(store.folder, VIEW) == [NOW_MS + 500]


@pytest.mark.parametrize(("arrives", "expected"), [(False, [NOW_MS]), (True, [NOW_MS, NOW_MS + 5])])
def test_a_kill_around_the_transaction_logs_what_redis_has(
    arrives: bool, expected: list[int], start: Callable[..., LoggedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noted but not written: not logged. Written but not answered: logged with Redis' version."""
    store = start()
    store.write(row(1.0))
    store.clock.turn(5)
    break_transaction(store, monkeypatch, Killed(), arrives)
    with pytest.raises(Killed):
        store.write(row(2.0))
    store.crash()
    start().flush()
    assert versions(store.folder, VIEW) == expected


@pytest.mark.parametrize("step", ["write_part", "unlink"])
def test_a_kill_while_files_are_written_repeats_nothing(
    step: str, start: Callable[..., LoggedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the part or between part and journal: the next start gives the same file."""
    store = start()
    store.write(row(1.0), row(2.0, "u2"))
    if step == "unlink":
        monkeypatch.setattr(Path, "unlink", refused)
    else:
        monkeypatch.setattr("features.feature_log_worker.write_part", refused)
    with pytest.raises(TimeoutError):
        store.log.flush(store.writer.noted_round, timeout_s=0.2)
    store.crash()
    monkeypatch.undo()
    start().flush()
    assert versions(store.folder, VIEW) == [NOW_MS, NOW_MS]
    assert list((store.folder / "_journal").iterdir()) == []


def test_a_torn_batch_is_cut_off(start: Callable[..., LoggedStore]) -> None:
    """Killed within the write to the journal: Redis never saw those rows."""
    store = start()
    store.write(row(1.0))
    store.crash()
    (segment,) = (store.folder / "_journal").iterdir()
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:40])
    start().flush()
    assert versions(store.folder, VIEW) == [NOW_MS]


def test_a_damaged_segment_is_put_aside(start: Callable[..., LoggedStore]) -> None:
    """A flipped byte before whole batches is never taken for rows, and never stops what comes behind."""
    store = start()
    for events in (1.0, 2.0):
        store.write(row(events))
    store.crash()
    (segment,) = (store.folder / "_journal").iterdir()
    seal(segment, {2})
    data = bytearray(segment.read_bytes())
    data[60] ^= 1
    segment.write_bytes(data)
    again = start()
    again.write(row(3.0))
    again.flush()
    assert versions(store.folder, VIEW) == [NOW_MS + 2]
    assert segment.with_suffix(".damaged").exists()


def test_versions_rise_over_a_flush_of_the_store(start: Callable[..., LoggedStore], redis_client: Any) -> None:
    """Rows that were readable before stay, rows that replace them are newer; also when the clock went back."""
    store = start()
    store.write(row(1.0))
    redis_client.flushall()
    store.clock.turn(-60_000)
    store.claim()
    store.write(row(1.0))
    store.flush()
    assert versions(store.folder, VIEW) == [NOW_MS, NOW_MS + 1]


def test_versions_rise_over_an_empty_store_and_a_new_process(
    start: Callable[..., LoggedStore], redis_client: Any
) -> None:
    """Then only the log knows the last version: in a journal or in the name of a part."""
    for events, ends in ((1.0, LoggedStore.crash), (2.0, LoggedStore.flush), (3.0, LoggedStore.flush)):
        store = start()
        store.write(row(events))
        ends(store)
        redis_client.flushall()
    assert versions(store.folder, VIEW) == [NOW_MS, NOW_MS + 1, NOW_MS + 2]


@pytest.mark.parametrize("left", [{}, {"epoch": 1, "round": 1, "noted": 1}], ids=["empty", "older"])
def test_a_store_that_lost_rows_behind_a_kill_leaves_none_out(
    left: dict[str, int], start: Callable[..., LoggedStore], redis_client: Any
) -> None:
    """What the killed ingester wrote last was readable, though nothing that is left tells it."""
    store = start()
    for events in (1.0, 2.0, 3.0):
        store.write(row(events))
    store.crash()
    redis_client.flushall()
    if left:
        redis_client.hset("headrace:headrace:ingester", mapping=left)
    start().flush()
    assert versions(store.folder, VIEW) == [NOW_MS, NOW_MS + 1, NOW_MS + 2]


def test_a_store_that_lost_rows_behind_a_lost_answer_leaves_none_out(
    start: Callable[..., LoggedStore], redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a writer that lives on, too."""
    store = start()
    store.write(row(1.0))
    break_transaction(store, monkeypatch, RedisConnectionError("cut"), arrives=True)
    with pytest.raises(RedisConnectionError):
        store.write(row(2.0))
    redis_client.flushall()
    with pytest.raises(WentBackError):
        store.write(row(2.0))
    store.claim()
    store.write(row(2.0))
    store.flush()
    assert versions(store.folder, VIEW) == [NOW_MS, NOW_MS + 1, NOW_MS + 2]


def test_a_full_disk_stops_no_feature_and_leaves_a_gap(
    start: Callable[..., LoggedStore], redis_client: Any, full_disk: Callable[[bool], None]
) -> None:
    """Rows go on, the gap is known to the store meanwhile and in `gaps.jsonl` afterwards."""
    store = start()
    store.write(row(1.0))
    full_disk(True)
    store.clock.turn(10)
    store.write(row(2.0))
    assert redis_client.hget("headrace:headrace:ingester", "unlogged") == b"%d" % (NOW_MS + 10)
    full_disk(False)
    store.clock.turn(2000)
    store.write(row(3.0))
    store.flush()
    assert versions(store.folder, VIEW) == [NOW_MS, NOW_MS + 2010]
    (gap,) = map(json.loads, (store.folder / "gaps.jsonl").read_text().splitlines())
    assert (gap["from_ms"], gap["to_ms"]) == (NOW_MS + 10, NOW_MS + 2010)
    assert (store.log.summary()["unlogged_rows"], store.log.summary()["errors"]) == (1, 1)


def test_a_gap_outlives_a_kill(start: Callable[..., LoggedStore], full_disk: Callable[[bool], None]) -> None:
    """Redis keeps since when, as the disk could not."""
    store = start()
    full_disk(True)
    store.write(row(1.0))
    store.crash()
    full_disk(False)
    store.clock.turn(50)
    start().write(row(2.0))
    (gap,) = map(json.loads, (store.folder / "gaps.jsonl").read_text().splitlines())
    assert (gap["from_ms"], gap["to_ms"]) == (NOW_MS, NOW_MS + 50)


def test_a_switched_off_log_is_a_gap_too(start: Callable[..., LoggedStore]) -> None:
    """When it is on again, nobody takes the missing rows for rows that never were."""
    store = start(enabled=False)
    store.write(row(1.0))
    store.clock.turn(50)
    start().write(row(2.0))
    (gap,) = map(json.loads, (store.folder / "gaps.jsonl").read_text().splitlines())
    assert (gap["from_ms"], gap["to_ms"]) == (NOW_MS, NOW_MS + 50)


def test_a_segment_is_closed_when_it_is_due(start: Callable[..., LoggedStore]) -> None:
    """Not before `flush_s`, and without any new row."""
    store = start(flush_s=5)
    store.write(row(1.0))
    store.clock.turn(4999)
    store.log.tick(store.writer.noted_round)
    assert store.log._segment is not None
    store.clock.turn(1)
    store.log.tick(store.writer.noted_round)
    assert store.log._segment is None


def test_figures_say_rows_and_lag(start: Callable[..., LoggedStore]) -> None:
    """What `STATE/ingester.json` shows."""
    store = start()
    store.write(row(1.0), row(2.0, "u2"))
    store.clock.turn(1500)
    said = store.log.summary()
    assert (said["rows"], said["rows_in_files"], said["lag_s"], said["errors"]) == (2, 0, 1.5, 0)
    store.flush()
    said = store.log.summary()
    assert (said["rows_in_files"], said["lag_s"], said["segments_waiting"]) == (2, 0.0, 0)


def test_a_log_that_holds_another_type_is_not_written_to(tmp_path: Path, start: Callable[..., LoggedStore]) -> None:
    """Online features go on; the rows are counted as unlogged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "log" / VIEW / "date=1970-01-01" / "hour=00" / "schema.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"user_counters": pa.array([], pa.string())}), path)
    store = start()
    store.write(row(1.0))
    assert (store.log.summary()["unlogged_rows"], store.log.summary()["errors"]) == (1, 1)


def break_transaction(store: LoggedStore, monkeypatch: pytest.MonkeyPatch, error: BaseException, arrives: bool) -> None:
    """Raise at the next transaction, after it or in its place."""
    channel = store.writer._channel
    send, receive = channel.send, channel.receive

    def broken(*packed: bytes) -> None:
        if EXEC not in packed:
            send(*packed)
            return
        monkeypatch.undo()
        if arrives:
            send(*packed)
            receive(8)
        channel.close()
        raise error

    monkeypatch.setattr(channel, "send", broken)


def refused(*_: Any, **__: Any) -> None:
    """Raise as a disk does."""
    raise OSError(5, "Input/output error")


@pytest.fixture
def full_disk() -> Iterator[Callable[[bool], None]]:
    """Makes the kernel refuse every write to a file beyond its first byte, and take them again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(is_full: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0 if is_full else soft, hard))

    yield fill
    fill(False)


def test_the_newest_of_an_empty_log_is_nothing(tmp_path: Path) -> None:
    """Before anything is there."""
    assert FeatureLog(tmp_path / "none", FeaturesConfig(), os.getpid).newest() == (0, 0)
