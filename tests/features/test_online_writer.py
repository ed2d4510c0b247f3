"""One writer, versions that only rise, offsets that tell the truth; all on a real Redis."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from features.consumed_items import consumed_key
from features.errors import TakenOverError, WentBackError
from features.feast_rows import FeastRows, decode_version, version_field
from features.online_writer import OnlineWriter, can_be_running, next_version_ms, process_identity
from tests.features.feature_records import NOW_MS, decoded, history, user_value

ROWS = FeastRows("headrace")
ELSEWHERE = "another-host/1/0.00"


def writer_of(client: Any, identity: str | None = None, limit: int = 2000) -> OnlineWriter:
    """A writer of the app `headrace`."""
    return OnlineWriter(client, ROWS, "headrace", limit, identity)


def claimed_writer(client: Any, limit: int = 2000) -> OnlineWriter:
    """A writer that owns the store."""
    writer = writer_of(client, limit=limit)
    assert writer.try_claim() is not None
    return writer


def stored_version(client: Any, user_id: str = "u1") -> int:
    """The version of a user's row in Redis."""
    return decode_version(client.hget(ROWS.key("user_activity", user_id), version_field("user_activity")))


def row(events: float = 1.0, record_time_ms: int = NOW_MS) -> Any:
    """A row of u1."""
    return decoded("user_activity", "u1", user_value("u1", events), record_time_ms)


@pytest.mark.parametrize(("last_ms", "record_ms", "version_ms"), [(0, 5, 5), (5, 5, 6), (9, 5, 10), (5, 9, 9)])
def test_a_version_is_the_record_time_but_always_above_the_last(last_ms: int, record_ms: int, version_ms: int) -> None:
    """Also when Kafka's clock stands still or steps back."""
    assert next_version_ms(last_ms, record_ms) == version_ms


def test_versions_rise_over_a_restart(redis_client: Any) -> None:
    """A new writer reads the last version back, even where record times went back meanwhile."""
    claimed_writer(redis_client).write_rows([row()], {})
    claimed_writer(redis_client).write_rows([row(record_time_ms=NOW_MS - 60_000)], {})
    assert stored_version(redis_client) == NOW_MS + 1


def test_the_last_write_wins_within_one_millisecond(redis_client: Any) -> None:
    """Feast would drop the second of two rows with equal times."""
    writer = claimed_writer(redis_client)
    for events in (1.0, 2.0, 3.0):
        writer.write_rows([row(events)], {})
    stored = redis_client.hgetall(ROWS.key("user_activity", "u1"))
    assert stored == dict(ROWS.mapping(row(3.0), NOW_MS + 2))


def test_offsets_come_back_with_the_claim(redis_client: Any) -> None:
    """The next writer goes on behind the last written row."""
    claimed_writer(redis_client).write_rows([row()], {"t:0": 7, "t:1": 3})
    claim = writer_of(redis_client).try_claim()
    assert claim is not None
    assert claim.offsets == {"t:0": 7, "t:1": 3}


def test_a_living_owner_is_not_replaced(redis_client: Any) -> None:
    """The second ingester is told to wait; a release lets it in at once."""
    first = claimed_writer(redis_client)
    second = writer_of(redis_client, ELSEWHERE)
    assert second.try_claim() is None
    first.release()
    assert second.try_claim() is not None


def test_a_dead_owner_on_this_machine_is_replaced_at_once(redis_client: Any) -> None:
    """After kill -9 nothing waits for an expiry."""
    host, pid, _ = process_identity().split("/")
    assert writer_of(redis_client, f"{host}/{pid}/0.00").try_claim() is not None
    assert writer_of(redis_client).try_claim() is not None


def test_an_owner_on_another_machine_may_be_running() -> None:
    """Only its silence tells."""
    assert can_be_running(ELSEWHERE)
    assert can_be_running(process_identity())
    assert not can_be_running(f"{socket.gethostname()}/999999999/0.00")


def test_a_former_owner_cannot_write(redis_client: Any) -> None:
    """An older write never wins over a newer owner's."""
    former = claimed_writer(redis_client)
    redis_client.delete("headrace:headrace:ingester:alive")
    owner = writer_of(redis_client, ELSEWHERE)
    owner.try_claim()
    owner.write_rows([row(2.0)], {"t:0": 9})
    with pytest.raises(TakenOverError):
        former.write_rows([row(1.0, NOW_MS + 99)], {"t:0": 5})
    assert redis_client.hgetall(ROWS.key("user_activity", "u1")) == dict(ROWS.mapping(row(2.0), NOW_MS))
    assert redis_client.hget("headrace:headrace:ingester", "t:0") == b"9"


def test_a_flushed_store_is_noticed_before_the_next_write(redis_client: Any) -> None:
    """The offsets are gone with the rows, so claiming again reads everything again."""
    writer = claimed_writer(redis_client)
    writer.write_rows([row()], {"t:0": 1})
    redis_client.flushall()
    with pytest.raises(WentBackError):
        writer.write_rows([row()], {"t:0": 2})
    claim = writer.try_claim()
    assert claim is not None
    assert claim.offsets == {}


def test_a_store_restored_from_an_older_copy_is_noticed(redis_client: Any) -> None:
    """The claim is still this writer's, but a round is missing."""
    writer = claimed_writer(redis_client)
    writer.write_rows([row()], {"t:0": 1})
    copy = redis_client.dump("headrace:headrace:ingester")
    writer.write_rows([row()], {"t:0": 2})
    redis_client.restore("headrace:headrace:ingester", 0, copy, replace=True)
    with pytest.raises(WentBackError):
        writer.beat()


def test_a_write_whose_answer_was_lost_may_be_repeated(redis_client: Any) -> None:
    """The store is one round ahead of what the writer knows; the same rows go in again."""
    writer = claimed_writer(redis_client)
    writer.write_rows([row()], {})
    redis_client.hincrby("headrace:headrace:ingester", "round", 1)
    writer.write_rows([row()], {"t:0": 2})
    assert redis_client.hget("headrace:headrace:ingester", "t:0") == b"2"


def test_consumed_sets_keep_the_newest_items(redis_client: Any) -> None:
    """Over the limit the oldest go."""
    writer = claimed_writer(redis_client, limit=2)
    for entries in ([("b", 2), ("a", 1)], [("c", 3), ("b", 2)]):
        writer.write_rows([decoded("user_activity", "u1", user_value("u1", **history(entries)))], {})
    stored = redis_client.zrange(consumed_key("headrace", "u1"), 0, -1, withscores=True)
    assert stored == [(b"b", 2.0), (b"c", 3.0)]
