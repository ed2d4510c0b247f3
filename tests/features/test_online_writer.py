"""One writer, versions that only rise, offsets that tell the truth; all on a real Redis."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest
from redis import ConnectionError as RedisConnectionError

from features.consumed_items import consumed_key
from features.errors import TakenOverError, WentBackError
from features.feast_rows import EncodedRow, FeastRows, decode_version, version_field
from features.online_writer import (
    MAX_CLOSED_EPOCHS,
    OnlineWriter,
    RowBatch,
    next_version_ms,
)
from features.process_identity import can_be_running, process_identity
from features.redis_channel import EXEC
from tests.features.feature_records import NOW_MS, counter_value, decoded, history_value
from tests.running_stack import wait_for

ROWS = FeastRows("headrace")
ELSEWHERE = "another-host/1/0.00"


def writer_of(
    client: Any,
    identity: str | None = None,
    limit: int = 2000,
    now_ms: int = NOW_MS,
    journal: Any = None,
    columns: str = "c",
) -> OnlineWriter:
    """A writer of the app `headrace` whose clock stands still."""
    return OnlineWriter(client, ROWS, "headrace", limit, columns, identity, journal, now_ms=lambda: now_ms)


def claimed_writer(client: Any, limit: int = 2000, now_ms: int = NOW_MS, journal: Any = None) -> OnlineWriter:
    """A writer that owns the store."""
    writer = writer_of(client, limit=limit, now_ms=now_ms, journal=journal)
    assert writer.try_claim() is not None
    return writer


def stored_version(client: Any, user_id: str = "u1") -> int:
    """The version of a user's counters in Redis."""
    return decode_version(client.hget(ROWS.key("user_activity", user_id), version_field("user_activity")))


def row(events: float = 1.0) -> Any:
    """A row of u1's counters."""
    return decoded("user_activity", "u1", counter_value("u1", events))


class NotedBatches:
    """A journal in memory; `gap` is what it answers."""

    def __init__(self, gap: str = "") -> None:
        self.batches: list[RowBatch] = []
        self.gap = gap

    def pack(self, rows: Sequence[EncodedRow]) -> bytes:
        """Pack nothing."""
        return b""

    def note(self, batch: RowBatch) -> str:
        """Keep the batch."""
        self.batches.append(batch)
        return self.gap


def claim_field(client: Any, name: str) -> bytes | None:
    """A field of the claim hash."""
    value: bytes | None = client.hget("headrace:headrace:ingester", name)
    return value


@pytest.mark.parametrize(("last_ms", "now_ms", "version_ms"), [(0, 5, 5), (5, 5, 6), (9, 5, 10), (5, 9, 9)])
def test_a_version_is_the_clock_but_always_above_the_last(last_ms: int, now_ms: int, version_ms: int) -> None:
    """Also when the clock stands still or steps back."""
    assert next_version_ms(last_ms, now_ms) == version_ms


def test_versions_rise_over_a_restart(redis_client: Any) -> None:
    """A new writer reads the last version back, even where the clock went back meanwhile."""
    claimed_writer(redis_client).write_rows([row()], {})
    claimed_writer(redis_client, now_ms=NOW_MS - 60_000).write_rows([row()], {})
    assert stored_version(redis_client) == NOW_MS + 1


def test_versions_rise_over_a_flush(redis_client: Any) -> None:
    """The store forgets the last version, the writer does not."""
    writer = claimed_writer(redis_client)
    writer.write_rows([row()], {})
    redis_client.flushall()
    writer.try_claim()
    writer.write_rows([row()], {})
    assert stored_version(redis_client) == NOW_MS + 1


def test_versions_rise_above_what_only_the_log_remembers(redis_client: Any) -> None:
    """An empty Redis under a new process: version and epoch go on above the log's."""
    writer = writer_of(redis_client)
    writer.rise_above(NOW_MS + 70, epoch=5)
    claim = writer.try_claim()
    writer.write_rows([row()], {})
    assert claim is not None
    assert (claim.epoch, stored_version(redis_client)) == (6, NOW_MS + 71)


def test_a_noted_batch_leaves_its_round_in_the_store(redis_client: Any) -> None:
    """That is how a journal is read after a crash; what is not noted leaves the gap instead."""
    journal = NotedBatches()
    writer = claimed_writer(redis_client, journal=journal)
    writer.write_rows([row()], {})
    journal.gap = "17"
    writer.write_rows([row()], {})
    assert [(batch.round, batch.noted_round) for batch in journal.batches] == [(1, 0), (2, 1)]
    assert [claim_field(redis_client, name) for name in ("round", "noted", "unlogged")] == [b"2", b"1", b"17"]


def test_a_claim_tells_the_noted_rounds_of_former_ones(redis_client: Any) -> None:
    """Also of claims further back, whose journals may be read late."""
    for _ in range(2):
        claimed_writer(redis_client, journal=NotedBatches()).write_rows([row()], {})
    claim = writer_of(redis_client).try_claim()
    assert claim is not None
    assert (claim.noted_rounds[1], claim.noted_rounds[2]) == ({1}, {1})


def test_closed_claims_are_forgotten_in_the_end(redis_client: Any) -> None:
    """A crash loop does not grow the claim without bound."""
    for _ in range(MAX_CLOSED_EPOCHS + 5):
        claim = writer_of(redis_client).try_claim()
    assert claim is not None
    assert len(redis_client.hkeys("headrace:headrace:ingester")) < MAX_CLOSED_EPOCHS + 6


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


def test_offsets_stand_for_rows_of_the_same_columns(redis_client: Any) -> None:
    """With other columns the topics are read from their beginning, once: its own offsets are kept again."""
    claimed_writer(redis_client).write_rows([row()], {"t:0": 7, "t:1": 3})
    other = writer_of(redis_client, columns="d")
    claim = other.try_claim()
    assert claim is not None
    assert claim.offsets == {}
    other.write_rows([row(2.0)], {"t:0": 1})
    again = writer_of(redis_client, columns="d").try_claim()
    assert again is not None
    assert again.offsets == {"t:0": 1}


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
        former.write_rows([row(1.0)], {"t:0": 5})
    assert redis_client.hgetall(ROWS.key("user_activity", "u1")) == dict(ROWS.mapping(row(2.0), NOW_MS))
    assert redis_client.hget("headrace:headrace:ingester", "t:0") == b"9"


def test_a_former_owner_whose_check_was_done_cannot_write(redis_client: Any) -> None:
    """The check travels with the write before; Redis holds it until the next one."""
    former = claimed_writer(redis_client)
    former.write_rows([row(1.0)], {"t:0": 1})
    redis_client.delete("headrace:headrace:ingester:alive")
    owner = writer_of(redis_client, ELSEWHERE, now_ms=NOW_MS + 5)
    owner.try_claim()
    owner.write_rows([row(2.0)], {"t:0": 9})
    with pytest.raises(TakenOverError):
        former.write_rows([row(3.0)], {"t:0": 5})
    assert redis_client.hgetall(ROWS.key("user_activity", "u1")) == dict(ROWS.mapping(row(2.0), NOW_MS + 5))
    assert redis_client.hget("headrace:headrace:ingester", "t:0") == b"9"


def test_rows_are_readable_once_they_are_started(redis_client: Any) -> None:
    """Nobody has to ask for the answer first; asking starts nothing twice."""
    journal = NotedBatches()
    writer = claimed_writer(redis_client, journal=journal)
    prepared = writer.prepare([writer.encode(row())])
    writer.start_write(prepared, {"t:0": 1})
    wait_for(lambda: redis_client.hget("headrace:headrace:ingester", "t:0") == b"1", "the row")
    assert not writer.is_settled
    writer.write(prepared, {"t:0": 1})
    assert (writer.is_settled, writer.noted_round, len(journal.batches)) == (True, 1, 1)


def test_a_started_write_whose_answer_is_lost_is_not_repeated(redis_client: Any) -> None:
    """It is found by its round."""
    writer = claimed_writer(redis_client)
    prepared = writer.prepare([writer.encode(row())])
    writer.start_write(prepared, {"t:0": 1})
    wait_for(lambda: redis_client.hget("headrace:headrace:ingester", "t:0") == b"1", "the row")
    writer._channel._connection._sock.shutdown(socket.SHUT_RD)
    writer._channel._connection._sock.recv(10**6)  # What has arrived before.
    with pytest.raises(RedisConnectionError):
        writer.write(prepared, {"t:0": 1})
    writer.write(prepared, {"t:0": 1})
    assert (writer.is_settled, stored_version(redis_client)) == (True, NOW_MS)


def test_a_claim_forgets_a_started_write(redis_client: Any) -> None:
    """Whatever became of it: the offsets that come back say it."""
    writer = claimed_writer(redis_client)
    writer.start_write(writer.prepare([writer.encode(row())]), {"t:0": 1})
    wait_for(lambda: redis_client.hget("headrace:headrace:ingester", "t:0") == b"1", "the row")
    claim = writer.try_claim()
    assert claim is not None
    assert (claim.epoch, claim.offsets, writer.is_settled) == (2, {"t:0": 1}, True)


def test_a_started_write_counts_where_the_store_lost_what_became_of_it(redis_client: Any) -> None:
    """It was readable; the feature log must have it."""
    writer = claimed_writer(redis_client, journal=NotedBatches())
    writer.start_write(writer.prepare([writer.encode(row())]), {"t:0": 1})
    wait_for(lambda: redis_client.hget("headrace:headrace:ingester", "t:0") == b"1", "the row")
    redis_client.flushall()
    claim = writer.try_claim()
    assert claim is not None
    assert claim.noted_rounds == {1: {0, 1}}


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


def test_a_write_whose_answer_was_lost_is_not_repeated(redis_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try finds its round in the store: the version that was readable stays the logged one."""
    journal = NotedBatches()
    writer = claimed_writer(redis_client, journal=journal)
    lose_next_answer(writer, monkeypatch)
    with pytest.raises(RedisConnectionError):
        writer.write_rows([row()], {"t:0": 2})
    writer.write_rows([row()], {"t:0": 2})
    assert (len(journal.batches), stored_version(redis_client), writer.noted_round) == (1, NOW_MS, 1)
    assert writer.is_settled


def test_a_write_that_did_not_arrive_is_repeated_under_a_new_round(
    redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the journal can tell which of the two was readable."""
    journal = NotedBatches()
    writer = claimed_writer(redis_client, journal=journal)
    lose_next_answer(writer, monkeypatch, arrives=False)
    with pytest.raises(RedisConnectionError):
        writer.write_rows([row()], {"t:0": 2})
    writer.write_rows([row()], {"t:0": 2})
    assert [batch.round for batch in journal.batches] == [1, 2]
    assert (claim_field(redis_client, "noted"), stored_version(redis_client)) == (b"2", NOW_MS + 1)


def lose_next_answer(writer: OnlineWriter, monkeypatch: pytest.MonkeyPatch, arrives: bool = True) -> None:
    """Break the connection after (or before) the next transaction."""
    send, receive = writer._channel.send, writer._channel.receive

    def broken(*packed: bytes) -> None:
        if EXEC not in packed:
            send(*packed)
            return
        monkeypatch.undo()
        if arrives:
            send(*packed)
            receive(8)
        writer._channel.close()
        raise RedisConnectionError("cut")

    monkeypatch.setattr(writer._channel, "send", broken)


def test_consumed_sets_keep_the_newest_items(redis_client: Any) -> None:
    """Over the limit the oldest go."""
    writer = claimed_writer(redis_client, limit=2)
    for entries in ([("a", 1, "e1"), ("b", 2, "e2")], [("b", 2, "e2"), ("c", 3, "e3")]):
        writer.write_rows([decoded("user_activity", "u1", history_value("u1", entries))], {})
    stored = redis_client.zrange(consumed_key("headrace", "u1"), 0, -1, withscores=True)
    assert stored == [(b"b", 2.0), (b"c", 3.0)]
