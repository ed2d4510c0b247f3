"""A server over a store behind a network: what was proven once outlives the store, and nothing waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from serving import cached_snapshots
from serving.announcements import Announcement
from serving.cached_snapshots import CachedSnapshots
from serving.errors import StoreAwayError, VersionRefusedError
from serving.store_health import StoreHealth
from tests.serving.serving_parts import APP, World, make_version
from tests.serving.test_model_store import live_version, until_loaded
from tests.store_places import Place, SwitchedFiles, switched_place
from trainer.version_files import LocalVersions, StoreError, VersionError, encode_version


class FarWorld(World):
    """A served world whose versions are behind a network that fails when a test says so."""

    def __init__(self, directory: Path, before: FarWorld | None = None) -> None:
        self.place: Place
        self.files: SwitchedFiles
        self.place, self.files = switched_place() if before is None else (before.place, before.files)
        self.cache = LocalVersions(directory / "model_cache")
        self.health = StoreHealth()
        self.now_s = 0.0
        """Of the pauses between questions to the store."""
        self.far = CachedSnapshots(self.place.store, self.cache, 2, 60.0, self.health, lambda: self.now_s)
        super().__init__(directory, snapshots=self.far)

    def write(self, name: str, **changes: Any) -> Announcement:
        """Write a version as the trainer does, and return its announcement."""
        encoded = encode_version(make_version(name, **changes))
        self.place.store.put(encoded)
        return Announcement(APP.name, name, encoded.digest)

    def copies(self) -> list[str]:
        """Return the versions that are kept here."""
        return [str(version) for version in self.cache.versions()]

    def spoil(self, version: str) -> None:
        """Flip a bit in the store."""
        path = self.place.path(version, "items.safetensors")
        data = self.place.filesystem.cat_file(path)
        self.place.write(path, data[:-1] + bytes([data[-1] ^ 1]))


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[FarWorld]:
    """A small served world without a model yet."""
    made = FarWorld(tmp_path)
    yield made
    made.files.may_answer.set()
    await made.models.stop()


async def test_an_announced_version_is_read_proven_and_kept(world: FarWorld) -> None:
    """Once: the next reader takes the copy."""
    await world.models.start(3)
    world.models.announce([world.write("1.1")])
    await until_loaded(world, "1.1")
    assert world.copies() == ["1.1"]
    before = world.files.calls
    world.far.read("1.1")
    assert world.files.calls == before


async def test_a_start_without_the_store_serves_the_last_good_copy(world: FarWorld) -> None:
    """Neither store nor Kafka is needed; the status says that the store is away."""
    for name in ("1.1", "1.2"):
        world.write(name)
        await world.models.load(name)
    world.files.is_down = True
    restarted = FarWorld(world.directory, world)
    await restarted.models.start(3)
    assert (live_version(restarted), "nobody listens" in restarted.health.error) == ("1.2", True)
    await restarted.models.stop()


async def test_a_start_waits_only_so_long_for_a_store_that_hangs(
    world: FarWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves the copy meanwhile, and lists versions without waiting."""
    world.write("1.1")
    await world.models.load("1.1")
    monkeypatch.setattr(cached_snapshots, "_FIRST_LOOK_S", 0.01)
    world.files.may_answer.clear()
    restarted = FarWorld(world.directory, world)
    await restarted.models.start(3)
    assert (live_version(restarted), list(map(str, restarted.far.versions()))) == ("1.1", ["1.1"])
    world.files.may_answer.set()
    await restarted.models.stop()


async def test_copies_are_few_and_the_last_good_one_stays(world: FarWorld) -> None:
    """Newer versions that are not fit push nothing out that serves."""
    for seq in range(1, 5):
        world.write(f"1.{seq}")
        await world.models.load(f"1.{seq}")
    assert world.copies() == ["1.3", "1.4"]
    await world.models.load("1.3")
    for seq in range(5, 8):
        world.write(f"1.{seq}", feature_schema_hash="another")
        with pytest.raises(VersionRefusedError, match="feature_schema"):
            await world.models.load(f"1.{seq}")
    assert world.copies() == ["1.3", "1.6", "1.7"]


async def test_what_a_killed_server_left_half_copied_goes(world: FarWorld) -> None:
    """With the next start, unless another worker copies just then."""
    world.write("1.1")
    await world.models.load("1.1")
    (world.cache.directory / ".1.2.77.tmp").mkdir()
    await world.models.start(3)
    assert sorted(path.name for path in world.cache.directory.iterdir()) == [".lock", "1.1", "last_good"]


async def test_a_damaged_copy_is_read_again(world: FarWorld) -> None:
    """From the store, and is whole then."""
    world.write("1.1")
    await world.models.load("1.1")
    path = world.cache.directory / "1.1" / "items.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    await world.models.reload()
    assert world.cache.read("1.1").manifest.version == "1.1"


async def test_a_wrong_announcement_costs_no_copy(world: FarWorld) -> None:
    """What neither store nor disk has is refused, and the last good one can still be started from."""
    world.write("1.1")
    await world.models.load("1.1")
    with pytest.raises(VersionError, match="manifest_digest"):
        world.far.read("1.1", "0" * 64)
    assert world.far.read("1.1").manifest.version == "1.1"
    assert world.copies() == ["1.1"]


async def test_a_full_disk_costs_the_copy_and_not_the_version(world: FarWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves from memory; the status says so until there is room."""

    def refuse(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    world.write("1.1")
    with monkeypatch.context() as full:
        full.setattr("trainer.version_store.write_directory", refuse)
        await world.models.load("1.1")
    assert (live_version(world), world.copies(), "No space left" in world.health.cache_error) == ("1.1", [], True)
    await world.models.reload()
    assert (world.copies(), world.health.cache_error) == (["1.1"], "")


async def test_what_is_damaged_in_the_store_is_refused_and_not_kept(world: FarWorld) -> None:
    """The last good one serves; it is the version's fault, not the store's."""
    world.write("1.1")
    await world.models.load("1.1")
    world.write("1.2")
    world.spoil("1.2")
    with pytest.raises(VersionRefusedError, match="file_digest"):
        await world.models.load("1.2")
    assert (live_version(world), world.copies(), world.health.error) == ("1.1", ["1.1"], "")


async def test_a_version_that_the_store_withholds_is_not_passed_over(world: FarWorld) -> None:
    """Announced while the store is away, it serves as soon as that is back, with no further word of it."""
    await world.models.start(3)
    announcement = world.write("1.1")
    world.files.is_down = True
    world.models.announce([announcement])
    async with asyncio.timeout(5):
        while not world.models.records.refused:
            await asyncio.sleep(0.001)
    world.files.is_down = False
    world.now_s += 60.0
    await until_loaded(world, "1.1")
    assert set(world.models.records.refused) == {"store_unreachable"}


async def test_an_order_while_the_store_is_away_is_told_so(world: FarWorld) -> None:
    """At once where it failed a moment ago; what has a copy can be ordered all the same."""
    world.write("1.1")
    await world.models.load("1.1")
    world.write("1.2")
    world.files.is_down = True
    for said in ("nobody listens", "the next try is in 1 s"):
        with pytest.raises(StoreAwayError, match=said):
            await world.models.load("1.2")
    assert (await world.models.load("1.1")).version == "1.1"


async def test_pins_reach_a_store_that_comes_back(world: FarWorld) -> None:
    """Also those of a server that ended before it was."""
    world.write("1.1")
    await world.models.load("1.1")
    world.files.is_down = True
    await world.models.pin()
    await world.models.stop()
    world.files.is_down = False
    restarted = FarWorld(world.directory, world)
    await restarted.models.start(3)
    await until_pinned(restarted, ["1.1"])
    await restarted.models.unpin()
    await until_pinned(restarted, [])
    await restarted.models.stop()


async def until_pinned(world: FarWorld, versions: list[str]) -> None:
    """Let the thread work until the store keeps these."""
    async with asyncio.timeout(5):
        while [str(version) for version in world.place.store.pinned()] != versions:
            await asyncio.sleep(0.001)


async def test_pauses_grow_while_the_store_is_away(world: FarWorld) -> None:
    """1, 2, 4 s .. 30 s: meanwhile nobody knocks."""
    world.files.is_down = True
    pauses = []
    for _ in range(7):
        with pytest.raises(StoreError):
            world.far.look()
        pauses.append(world.far._resting_until_s - world.now_s)
        before = world.files.calls
        with pytest.raises(StoreError, match="the next try is in"):
            world.far.look()
        assert world.files.calls == before
        world.now_s += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_health_is_scraped() -> None:
    """A gauge for alarms, and a count."""
    health = StoreHealth()
    health.note_failure("nobody listens")
    values = {sample.name: sample.value for metric in health.collect() for sample in metric.samples}
    assert (values["headrace_serving_model_store_away"], values["headrace_serving_model_store_failures_total"]) == (
        1,
        1,
    )
