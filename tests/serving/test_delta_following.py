"""Laws of following deltas: applied in order, two buffers, gaps and bad ones refused, and a way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from serving.announcements import Announcement
from tests.serving.serving_parts import APP, World
from tests.serving.version_chain import (
    USERS,
    VersionChain,
    encoded_version,
    end_of,
    history_row,
    is_of_one_version,
    put,
    records_of,
)
from trainer.delta_chunks import TOPIC
from trainer.version_delta import digest_of, encode_delta


async def until(is_true: Callable[[], bool]) -> None:
    """Let the follower work until something is true."""
    async with asyncio.timeout(60):
        while not is_true():
            await asyncio.sleep(0.002)


def version_of(world: World) -> str:
    """Return the live version's name."""
    return "" if world.models.live is None else world.models.live.version


async def serves(world: World, version: str) -> None:
    """Wait until a version is live, and check that what it answers is whole and its own."""
    await until(lambda: version_of(world) == version)
    await check_answers(world, version)


async def check_answers(world: World, version: str) -> None:
    """Check that answers are of one version."""
    for user in USERS:
        answer = await world.recommender.rank(user, [item for item in ("item-001", "item-030", "new-61")])
        assert answer.model_version == version
        known = [item for item in answer.items if item.source == "given"]
        assert len(known) >= 2
        assert is_of_one_version(version, [item.score for item in known])


@pytest_asyncio.fixture
async def chained(tmp_path: Path) -> AsyncIterator[tuple[World, VersionChain]]:
    """A world that serves the opening snapshot of a chain and follows its deltas."""
    world = World(tmp_path)
    world.rows.rows = dict.fromkeys(USERS, history_row())
    chain = VersionChain(world.store_dir, encoded_version("1.1"))
    await world.models.start(3)
    assert version_of(world) == "1.1"
    yield world, chain
    await world.models.stop()


Chained = tuple[World, VersionChain]


async def test_deltas_are_served_as_they_come(chained: Chained) -> None:
    """Both buffers get every delta: whichever serves is whole."""
    world, chain = chained
    for _ in range(7):
        put(world, chain.step())
        await serves(world, str(chain.version))
    live = world.models.live
    assert live is not None
    assert (live.num_items, live.table_rows.tolist()) == (67, world.items.rows_of(live.item_ids).tolist())
    assert live.counts.titles.titles.num_titles.sum() == 7
    assert live.user_rows.rows_of(["ann", "user-3", "user-4", "nobody"]).tolist() == [0, 3, 4, -1]
    assert (world.models.stats.deltas_applied, world.models.records.refused) == (7, {})


async def test_live_version_equals_the_publishers(chained: Chained) -> None:
    """After any number of deltas every tensor of the server is the trainer's, bit for bit, in both buffers."""
    world, chain = chained
    for _ in range(2):
        put(world, chain.step())
        await until(lambda: version_of(world) == str(chain.version))
        live = world.models.live
        assert live is not None
        for name, mine in (("item_vectors", live.item_vectors), ("weights", live.counts.pairs.weights)):
            assert mine.tobytes() == chain.image.tensor(name).tobytes()
        assert (live.item_ids, live.user_embedding.tobytes()) == (
            chain.image.item_ids,
            chain.image.tensor("user_embedding").tobytes(),
        )


async def test_server_that_is_behind_applies_several_deltas_before_one_swap(chained: Chained) -> None:
    """Nothing between is served: only the newest is of use."""
    world, chain = chained
    put(world, [record for _ in range(30) for record in chain.step()])
    await serves(world, "1.31")
    assert world.models.stats.deltas_applied == 30
    assert world.models.records.swaps < 15


async def test_start_goes_on_behind_the_snapshot_on_disk(chained: Chained) -> None:
    """A restart reads its snapshot, then only what stands behind it on the topic."""
    world, chain = chained
    for _ in range(4):
        put(world, chain.step())
    chain.write_snapshot(end_of(world))
    put(world, chain.step())
    restarted = World(world.directory)
    restarted.rows.rows = world.rows.rows
    restarted.broker.logs = world.broker.logs
    await restarted.models.start(3)
    assert version_of(restarted) == "1.5"
    await serves(restarted, "1.6")
    assert (restarted.models.stats.deltas_applied, restarted.models.stats.deltas_skipped) == (1, 0)
    await restarted.models.stop()


async def test_start_needs_no_kafka(chained: Chained) -> None:
    """The snapshot serves at once; deltas are applied when the broker comes."""
    world, chain = chained
    restarted = World(world.directory)
    restarted.rows.rows = world.rows.rows
    restarted.broker.is_dead = True
    await restarted.models.start(3)
    await check_answers(restarted, "1.1")
    put(restarted, chain.step())
    restarted.broker.is_dead = False
    await serves(restarted, "1.2")
    await restarted.models.stop()


async def test_snapshot_of_the_chain_is_only_remembered(chained: Chained) -> None:
    """Deltas lead there already: nothing is read again."""
    world, chain = chained
    put(world, chain.step())
    await serves(world, "1.2")
    put(world, chain.step())
    version, digest = chain.write_snapshot(end_of(world))
    world.models.announce([Announcement(APP.name, version, digest)])
    await serves(world, "1.3")
    await asyncio.sleep(0.1)
    assert (world.models.records.swaps, world.models.stats.deltas_applied) == (3, 2)


async def test_snapshot_is_loaded_where_no_deltas_lead_to_it(chained: Chained, monkeypatch: pytest.MonkeyPatch) -> None:
    """A released version, or one whose deltas are lost, is read from the store after a while."""
    monkeypatch.setattr("serving.version_follower._PATIENCE_S", 0.3)
    world, chain = chained
    put(world, chain.step())
    await serves(world, "1.2")
    chain.step()
    version, digest = chain.write_snapshot(end_of(world))
    world.models.announce([Announcement(APP.name, version, digest)])
    await serves(world, "1.3")
    put(world, chain.step())
    await serves(world, "1.4")
    assert world.models.records.refused == {}


async def test_new_epoch_begins_with_its_snapshot(chained: Chained) -> None:
    """Deltas of a restarted trainer wait for the snapshot of its epoch; the old one's are passed over."""
    world, chain = chained
    put(world, chain.step())
    await serves(world, "1.2")
    late = chain.step()
    again = VersionChain(world.store_dir, encoded_version("2.5"))
    put(world, again.step())
    put(world, late)
    await serves(world, "1.3")
    world.models.announce([Announcement(APP.name, "2.5", again.manifest_sha256)])
    await serves(world, "2.6")
    put(world, chain.step())
    put(world, again.step())
    await serves(world, "2.7")
    assert world.models.records.refused == {}


async def test_gap_is_mended_from_the_snapshot(chained: Chained) -> None:
    """A delta that was lost on the way here is read again with all others behind the newest snapshot."""
    world, chain = chained
    put(world, chain.step())
    await serves(world, "1.2")
    lost = chain.step()
    put(world, chain.step())
    await until(lambda: world.models.records.refused == {"gap": 1})
    assert version_of(world) == "1.2"
    assert world.models.is_behind
    log = world.broker.logs[TOPIC]
    kept = [record.value or b"" for record in log]
    log.clear()
    put(world, [kept[0], *lost, *kept[1:]])
    await serves(world, "1.4")
    put(world, chain.step())
    await serves(world, "1.5")
    await until(lambda: not world.models.is_behind)


async def test_delta_that_cannot_serve_is_followed_by_no_other(chained: Chained) -> None:
    """A chain with a bad link ends there: the last good version serves until a snapshot behind it is announced."""
    world, chain = chained
    good = chain.step()
    bad = chain.next_delta(canary_scores=tuple(score + 9.0 for score in chain.next_delta().manifest.canary_scores))
    payload = encode_delta(bad)
    put(world, [*good, *records_of(bad, payload)])
    await until(lambda: "canary" in world.models.records.refused)
    chain.image.apply(bad, digest_of(payload))
    put(world, chain.step())
    await serves(world, "1.2")
    version, digest = chain.write_snapshot(end_of(world))
    world.models.announce([Announcement(APP.name, version, digest)])
    await serves(world, "1.4")
    put(world, chain.step())
    await serves(world, "1.5")
    assert world.models.records.refused["canary"] >= 1


async def test_broken_chain_is_tried_later_each_time(chained: Chained) -> None:
    """No tight loop: within a second of a gap that stays there are at most three rebuilds."""
    world, chain = chained
    chain.step()
    put(world, chain.step())
    await until(lambda: world.models.stats.resyncs > 0)
    await asyncio.sleep(1.0)
    assert world.models.stats.resyncs <= 3
    await check_answers(world, "1.1")


async def test_buffer_is_not_written_while_it_is_read(chained: Chained) -> None:
    """A request holds its model over a swap; the next delta waits for it to leave."""
    world, chain = chained
    with world.models.take() as held:
        assert held is not None
        before = held.item_vectors.copy()
        put(world, chain.step())
        await serves(world, "1.2")
        put(world, chain.step())
        await asyncio.sleep(0.05)
        assert version_of(world) == "1.2"
        assert (held.version, held.num_items, held.item_vectors.tobytes()) == ("1.1", 60, before.tobytes())
    await serves(world, "1.3")
    assert (world.models.stats.readers_waited_for, world.models.stats.readers_left_behind) == (1, 0)


async def test_reader_that_hangs_keeps_its_buffer_and_stops_nobody(chained: Chained) -> None:
    """After a bounded wait following goes on with a fresh copy, counted; what the reader holds never changes."""
    world, chain = chained
    with world.models.take() as held:
        assert held is not None
        before = held.item_vectors.copy()
        for _ in range(5):
            put(world, chain.step())
            await serves(world, str(chain.version))
        assert (held.version, held.item_vectors.tobytes()) == ("1.1", before.tobytes())
    put(world, chain.step())
    await serves(world, "1.7")
    assert (world.models.stats.readers_waited_for, world.models.stats.readers_left_behind) == (1, 1)


async def test_oracle_rejects_a_planted_mix(chained: Chained) -> None:
    """Rows of the next version under the weights of this one give a score that no version gives."""
    world, chain = chained
    live = world.models.live
    assert live is not None
    delta = chain.next_delta()
    for name, mine in (("item_vectors", live.item_vectors), ("user_embedding", live.user_embedding)):
        kept = mine.copy()
        mine[: len(kept)] = delta.changes[name].values[: len(kept)]
        with pytest.raises(AssertionError):
            await check_answers(world, "1.1")
        mine[:] = kept
    live.counts.pairs.totals[0] += 1.0
    with pytest.raises(AssertionError):
        await check_answers(world, "1.1")
    live.counts.pairs.totals[0] -= 1.0
    await check_answers(world, "1.1")
