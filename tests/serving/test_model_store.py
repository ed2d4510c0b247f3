"""Laws of following, refusing and swapping versions."""

from __future__ import annotations

import asyncio
import shutil

import msgspec
import pytest

from protos import serving_pb2 as pb
from serving.announcements import Announcement
from serving.errors import NoModelError, VersionRefusedError, VersionUnknownError
from serving.version_records import VersionState
from tests.serving.serving_parts import APP, ITEM_IDS, SCORE_STEP, World, corrupt, make_version
from trainer.version_files import write_version


async def until_loaded(world: World, version: str) -> None:
    """Let the follower work until `version` is live."""
    async with asyncio.timeout(5):
        while world.models.live is None or world.models.live.version != version:
            await asyncio.sleep(0.001)


async def until_refused(world: World, times: int) -> None:
    """Let the follower work until it refused `times` versions."""
    async with asyncio.timeout(5):
        while sum(world.models.records.refused.values()) < times:
            await asyncio.sleep(0.001)


def live_version(world: World) -> str:
    """Return the live version's name."""
    assert world.models.live is not None
    return world.models.live.version


async def test_start_serves_the_newest_good_version_on_disk(world: World) -> None:
    """Without Kafka, a corrupted newest version is passed over for the one before it."""
    for name in ("1.1", "1.2"):
        world.write(name)
    corrupt(world.store_dir / "1.2" / "dense.safetensors")
    await world.models.start(3)
    assert live_version(world) == "1.1"


async def test_announced_version_is_served(world: World) -> None:
    """The follower serves what is announced, of this model only."""
    await world.models.start(3)
    announcement = world.write("1.1")
    world.models.announce([announcement, type(announcement)("another-model", "9.9", "x")])
    await until_loaded(world, "1.1")
    assert world.models.records.swaps == 1


async def test_only_the_newest_announcement_is_loaded(world: World) -> None:
    """A server that fell behind skips what lies between."""
    await world.models.start(3)
    world.models.announce([world.write(name) for name in ("1.1", "1.2", "1.3")])
    await until_loaded(world, "1.3")
    assert world.models.records.swaps == 1


async def test_held_version_is_neither_followed_nor_started_with(world: World) -> None:
    """A version that the trainer's gate holds does not serve by itself."""
    world.write("1.1")
    held = msgspec.structs.replace(world.write("1.2"), gate="HELD", gate_reason="scores ran away")
    world.models.announce([held])
    await world.models.start(3)
    world.models.announce([held])
    await asyncio.sleep(0)
    assert (live_version(world), world.models.records.status_of("1.2").state) == ("1.1", VersionState.HELD)


async def test_version_never_falls_without_an_order(world: World) -> None:
    """An announcement below the live version is not followed."""
    old = world.write("1.9")
    await world.serve("2.1")
    await world.models.start(3)
    world.models.announce([old])
    world.models.announce([world.write("2.2")])
    await until_loaded(world, "2.2")
    world.models.announce([old])
    await asyncio.sleep(0)
    assert live_version(world) == "2.2"


@pytest.mark.parametrize("file", ["dense.safetensors", "items.safetensors", "counts.safetensors", "manifest.json"])
async def test_corrupted_version_is_refused_and_the_old_one_serves(world: World, file: str) -> None:
    """One flipped bit in any file: refused, counted, remembered with its reason."""
    await world.serve("1.1")
    await world.models.start(3)
    announcement = world.write("1.2")
    corrupt(world.store_dir / "1.2" / file)
    world.models.announce([announcement])
    await until_refused(world, 1)
    assert (live_version(world), world.models.records.status_of("1.2").state) == ("1.1", VersionState.REJECTED)


async def test_version_of_another_schema_is_refused(world: World) -> None:
    """A server does not feed a model inputs it was not trained on."""
    await world.serve("1.1")
    world.write("1.2", feature_schema_hash="another")
    with pytest.raises(VersionRefusedError, match="feature_schema"):
        await world.models.load("1.2")
    assert live_version(world) == "1.1"


async def test_version_whose_canary_scores_differ_is_refused(world: World) -> None:
    """Digests say that the files arrived; the canary says that they compute what the trainer saw."""
    expected = make_version("1.2").manifest.canary_scores
    world.write("1.2", canary_scores=(expected[0] + 100.0, *expected[1:]))
    with pytest.raises(VersionRefusedError, match="canary"):
        await world.models.load("1.2")
    assert world.models.live is None


async def test_version_with_other_files_than_announced_is_refused(world: World) -> None:
    """A consistent directory that is not the announced one does not serve."""
    await world.models.start(3)
    announcement = world.write("1.1")
    world.models.announce([type(announcement)(announcement.name, "1.1", "0" * 64)])
    await until_refused(world, 1)
    assert (world.models.live, world.models.records.refused) == (None, {"manifest_digest": 1})


async def test_rollback_stops_following_until_unpin(world: World) -> None:
    """Announcements wait for unpin."""
    await world.serve("1.1", "1.2", "1.3")
    await world.models.start(3)
    assert (await world.models.rollback("1.2")).version == "1.2"
    world.models.announce([world.write("1.4")])
    await asyncio.sleep(0.01)
    assert live_version(world) == "1.2"
    await world.models.unpin()
    await until_loaded(world, "1.4")


async def test_rollback_goes_five_minutes_back_where_it_can(world: World) -> None:
    """Without a name: the newest good snapshot that much older than the live one, else the oldest; it says which."""
    for name, minute in (("1.1", 0), ("1.2", 1), ("1.3", 2), ("1.4", 6), ("1.5", 7)):
        world.write(name, created_time_ms=60_000 * (1 + minute))
    world.models.announce([Announcement(APP.name, "1.3", "x", "HELD", "odd")])
    await world.models.load("1.5")
    first = await world.models.rollback()
    assert (first.version, "5 minutes older or more" in first.reason) == ("1.2", True)
    second = await world.models.rollback()
    assert (second.version, "the oldest good snapshot" in second.reason) == ("1.1", True)
    with pytest.raises(VersionUnknownError, match=r"no snapshot older than 1\.1"):
        await world.models.rollback()


async def test_version_that_was_rolled_back_from_is_not_picked_up_again(world: World) -> None:
    """Neither after unpin nor at the next start; what comes after it is, and so is an order for it."""
    await world.serve("1.1", "1.2", "1.3")
    await world.models.start(3)
    bad = world.announcement("1.3")
    world.models.announce([bad])
    await world.models.rollback("1.1")
    await world.models.unpin()
    world.models.announce([world.announcement("1.2"), bad])
    restarted = World(world.directory)
    await restarted.models.start(3)
    restarted.models.announce([bad])
    await asyncio.sleep(0.1)
    assert (live_version(world), live_version(restarted)) == ("1.1", "1.1")
    await restarted.models.load("1.3")
    world.models.announce([world.write("1.4")])
    await until_loaded(world, "1.4")
    assert live_version(restarted) == "1.3"
    await restarted.models.stop()


async def test_rollback_reaches_any_kept_version(world: World) -> None:
    """A version on disk that never served can be named; a missing one is said to be missing."""
    world.write("1.1")
    await world.serve("1.2")
    assert (await world.models.rollback("1.1")).version == "1.1"
    with pytest.raises(VersionUnknownError, match=r"5\.5.*newest kept are 1\.1, 1\.2"):
        await world.models.rollback("5.5")
    assert live_version(world) == "1.1"


async def test_first_version_cannot_be_rolled_back(world: World) -> None:
    """Nothing older is kept."""
    await world.serve("1.1")
    with pytest.raises(VersionUnknownError, match="no snapshot older"):
        await world.models.rollback()


async def test_pinned_server_stays_and_keeps_the_files(world: World) -> None:
    """A pin stops following, survives a restart and holds back pruning until unpin."""
    await world.serve("1.1")
    await world.models.pin()
    world.write("1.2")
    restarted = World(world.directory)
    await restarted.models.start(3)
    assert live_version(restarted) == "1.1"
    assert (world.store_dir / "pins" / "1.1").exists()
    await restarted.models.unpin()
    assert not (world.store_dir / "pins" / "1.1").exists()
    await restarted.models.stop()


async def test_loader_that_breaks_does_not_end_following(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of refuses that version; the next one is followed."""
    await world.models.start(3)
    with monkeypatch.context() as patched:
        patched.setattr("serving.serving_model.CountTables.from_arrays", lambda *arrays: 1 / 0)
        world.models.announce([world.write("1.1")])
        await until_refused(world, 1)
    world.models.announce([world.write("1.2")])
    await until_loaded(world, "1.2")
    assert world.models.records.refused == {"unexpected": 1}


async def test_orders_without_a_model_say_so(world: World) -> None:
    """Pin, reload and unpin need a live version."""
    for order in (world.models.pin, world.models.reload, world.models.unpin):
        with pytest.raises(NoModelError):
            await order()


async def test_broken_files_of_the_live_version_do_not_stop_it(world: World) -> None:
    """Reload refuses them; what is in memory serves on."""
    await world.serve("1.1")
    corrupt(world.store_dir / "1.1" / "items.safetensors")
    with pytest.raises(VersionRefusedError):
        await world.models.reload()
    assert world.models.records.status_of("1.1").state is VersionState.AVAILABLE


async def test_grown_version_keeps_rows_of_the_item_table(world: World) -> None:
    """Versions whose items grow, shrink or change order map to the same table rows."""
    longer = (*ITEM_IDS, "new-item")
    for name, item_ids in (("1.1", ITEM_IDS), ("1.2", longer), ("1.3", longer[::-1]), ("1.4", ITEM_IDS[:5])):
        write_version(world.store_dir, make_version(name, item_ids))
        await world.models.load(name)
        assert world.models.live is not None
        assert world.models.live.table_rows.tolist() == [world.items.row_of(item_id) for item_id in item_ids]


async def test_requests_across_swaps_never_fail_or_mix_versions(world: World) -> None:
    """Under a burst across many swaps, every answer's scores belong to the version it names."""
    await world.serve("1.1")
    await world.models.start(3)
    seen: set[str] = set()
    async with world.recommender_stub() as stub:

        async def ask(number: int) -> None:
            reply = await stub.Recommend(pb.RecommendRequest(user_id=f"user-{number}"))
            sequence = int(reply.model_version.partition(".")[2])
            assert {round(item.score / SCORE_STEP) for item in reply.items} == {sequence}
            seen.add(reply.model_version)

        for sequence in range(2, 22):
            world.models.announce([world.write(f"1.{sequence}")])
            await asyncio.gather(*(ask(number) for number in range(20)))
        await until_loaded(world, "1.21")
    assert len(seen) > 5
    assert world.models.records.refused == {}


async def test_pruned_version_is_unknown_not_rejected(world: World) -> None:
    """A version that left the store is forgotten rather than blamed."""
    await world.serve("1.1", "1.2")
    shutil.rmtree(world.store_dir / "1.1")
    with pytest.raises(VersionUnknownError):
        await world.models.rollback("1.1")
    assert [status.version for status in world.models.statuses()] == ["1.2"]
