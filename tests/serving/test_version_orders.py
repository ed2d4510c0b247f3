"""Laws of orders over deltas: any version that a snapshot and deltas reach, one load at a time, nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from serving.errors import VersionRefusedError, VersionUnknownError
from serving.version_records import VersionState
from tests.serving.serving_parts import World
from tests.serving.test_delta_following import Chained, chained, check_answers, serves, version_of
from tests.serving.version_chain import VersionChain, end_of, put
from trainer.version_files import pinned_versions

__all__ = ["chained"]


async def follow(world: World, chain: VersionChain, steps: int) -> None:
    """Let the chain go on and the world follow."""
    for _ in range(steps):
        put(world, chain.step())
    await serves(world, str(chain.version))


def restart(world: World) -> World:
    """Return a server that starts in the same folder, on the same topic."""
    restarted = World(world.directory)
    restarted.rows.rows, restarted.broker.logs = world.rows.rows, world.broker.logs
    return restarted


async def test_rollback_reaches_a_version_between_snapshots(chained: Chained) -> None:
    """The snapshot below it and the deltas up to it give the version bit for bit; deltas wait until unpin."""
    world, chain = chained
    await follow(world, chain, 3)
    chain.write_snapshot(end_of(world))
    await follow(world, chain, 2)
    wanted = {name: chain.image.tensor(name).tobytes() for name in ("item_vectors", "user_embedding", "totals")}
    await follow(world, chain, 4)
    status = await world.models.rollback("1.6")
    live = world.models.live
    assert live is not None
    await check_answers(world, "1.6")
    found = (live.item_vectors.tobytes(), live.user_embedding.tobytes(), live.counts.pairs.totals.tobytes())
    assert (status.version, found) == ("1.6", tuple(wanted.values()))
    assert [str(version) for version in pinned_versions(world.store_dir)] == ["1.4"]
    put(world, chain.step())
    await asyncio.sleep(0.05)
    assert version_of(world) == "1.6"


async def test_rollback_across_a_snapshot_goes_by_the_one_below(chained: Chained) -> None:
    """A version below the newest snapshot rests on an older one."""
    world, chain = chained
    await follow(world, chain, 5)
    chain.write_snapshot(end_of(world))
    await follow(world, chain, 1)
    assert (await world.models.rollback("1.3")).version == "1.3"
    await check_answers(world, "1.3")


async def test_rollback_says_what_is_not_kept(chained: Chained) -> None:
    """Deltas end before it, lie before the oldest snapshot, or cannot be read: the live version serves on."""
    world, chain = chained
    await follow(world, chain, 2)
    for version in ("1.9", "1.0", "7.1"):
        with pytest.raises(VersionUnknownError, match="not kept"):
            await world.models.rollback(version)
    world.broker.is_dead = True
    with pytest.raises(VersionRefusedError, match="cannot be read"):
        await world.models.rollback("1.2")
    assert world.models.records.status_of("1.2").state is VersionState.UNLOADED
    await check_answers(world, "1.3")


async def test_load_goes_on_behind_the_version(chained: Chained) -> None:
    """Following is not stopped: the deltas behind it lead back to the newest."""
    world, chain = chained
    await follow(world, chain, 3)
    assert (await world.models.load("1.2")).version == "1.2"
    await serves(world, "1.4")
    await follow(world, chain, 1)
    assert world.models.records.refused == {}


async def test_pin_between_snapshots_outlives_a_restart_without_kafka(chained: Chained) -> None:
    """The snapshot it rests on is kept and serves at once; the pinned version itself as soon as the topic answers."""
    world, chain = chained
    await follow(world, chain, 2)
    await world.models.pin()
    assert [str(version) for version in pinned_versions(world.store_dir)] == ["1.1"]
    restarted = restart(world)
    restarted.broker.is_dead = True
    await restarted.models.start(3)
    await check_answers(restarted, "1.1")
    restarted.broker.is_dead = False
    await serves(restarted, "1.3")
    put(world, chain.step())
    await asyncio.sleep(0.05)
    assert (version_of(world), version_of(restarted)) == ("1.3", "1.3")
    await restarted.models.unpin()
    assert pinned_versions(world.store_dir) == []
    await serves(restarted, "1.4")
    await restarted.models.stop()


async def test_list_shows_snapshots_the_live_delta_and_what_was_refused(chained: Chained) -> None:
    """Deltas that served and were replaced are not told: there are two a second."""
    world, chain = chained
    await follow(world, chain, 3)
    chain.write_snapshot(end_of(world))
    await follow(world, chain, 2)
    world.models.records.note_refusal("1.9", "canary", "off", is_missing=False)
    assert [(status.version, status.state) for status in world.models.statuses()] == [
        ("1.1", VersionState.UNLOADED),
        ("1.4", VersionState.UNLOADED),
        ("1.6", VersionState.AVAILABLE),
        ("1.9", VersionState.REJECTED),
    ]
