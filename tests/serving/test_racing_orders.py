"""Laws of orders that race with deltas, with each other and with the end of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from serving.announcements import Announcement
from serving.errors import GivenUpError, VersionRefusedError
from serving.model_builder import ModelBuilder
from serving.model_store import ModelStore
from serving.standing_order import StandingOrder
from serving.version_records import VersionState
from tests.serving.racing import answered, given, held_method, held_pass, watched
from tests.serving.serving_parts import APP, World
from tests.serving.test_delta_following import Chained, chained, check_answers, serves, until, version_of
from tests.serving.test_version_orders import follow, restart
from tests.serving.version_chain import VersionChain, encoded_version, end_of, put
from trainer.version_files import VersionError, pinned_versions

__all__ = ["chained"]

ORDERS: dict[str, tuple[Callable[[ModelStore], Any], str]] = {
    "load": (lambda models: models.load("1.2"), "1.2"),
    "reload": (lambda models: models.reload(), "1.5"),
    "rollback": (lambda models: models.rollback("1.3"), "1.3"),
    "rollback to a snapshot": (lambda models: models.rollback(), "1.1"),
    "pin": (lambda models: models.pin("1.2"), "1.2"),
    "pin what is live": (lambda models: models.pin(), "1.5"),
    "unpin": (lambda models: models.unpin(), "1.5"),
}
"""Name -> the order, and what serves behind it where 1.5 was just going live."""


async def break_chain(world: World, chain: VersionChain) -> list[bytes]:
    """Lose a delta on its way; return it."""
    lost = chain.step()
    put(world, chain.step())
    await until(lambda: "gap" in world.models.records.refused)
    return lost


@pytest.mark.parametrize("kind", ORDERS)
async def test_order_is_answered_with_what_serves(chained: Chained, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """An order that comes while a delta is being applied waits for it, and its answer names what serves then."""
    world, chain = chained
    call, expected = ORDERS[kind]
    await follow(world, chain, 3)
    held, seen = held_method(monkeypatch, "prove"), watched(world, monkeypatch)
    put(world, chain.step())
    await held.reached()
    order = await given(answered(world, call(world.models)))
    assert not order.done()
    held.let_go()
    assert await order == (expected, expected)
    assert seen[0] == "1.5"
    await check_served(world, chain, kind in ("load", "reload", "unpin"))


async def check_served(world: World, chain: VersionChain, is_following: bool) -> None:
    """Check that deltas that come now are followed, or wait for `unpin`."""
    put(world, chain.step())
    if not is_following:
        assert world.models.order is not None
        await check_answers(world, world.models.order.version)
        await world.models.unpin()
    await serves(world, str(chain.version))


async def test_orders_at_once_between_deltas_take_turns(chained: Chained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is carried out as if it were alone, in the order of coming; while one stands, nothing else serves."""
    world, chain = chained
    await follow(world, chain, 3)
    models, seen = world.models, watched(world, monkeypatch)
    orders = [models.load("1.2"), models.pin("1.3"), models.load("1.1"), models.rollback("1.2"), models.pin()]
    orders += [models.unpin(), models.load("1.4"), models.rollback("1.3"), models.reload(), models.pin("1.2")]

    async def between_deltas(order: Any) -> tuple[str, str]:
        put(world, chain.step())
        found = await answered(world, order)
        put(world, chain.step())
        return found

    answers = await asyncio.gather(*(between_deltas(order) for order in orders))
    said, served = zip(*answers, strict=True)
    assert said == served
    assert said[:5] == ("1.2", "1.3", "1.1", "1.2", "1.2")
    assert said[6:] == ("1.4", "1.3", "1.3", "1.2")
    assert seen[-3:] == ["1.3", "1.3", "1.2"]
    await check_served(world, chain, is_following=False)


async def test_pin_of_the_live_version_waits_for_the_load_under_way(
    chained: Chained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is live when the pin comes is not what is live when it is its turn."""
    world, chain = chained
    await follow(world, chain, 3)
    held = held_method(monkeypatch, "snapshot")
    load = await given(answered(world, world.models.load("1.1")))
    await held.reached()
    pin = await given(answered(world, world.models.pin("1.4")))
    assert not pin.done()
    held.let_go()
    assert (await load, await pin) == (("1.1", "1.1"), ("1.4", "1.4"))


async def test_rollback_leaves_what_went_live_while_it_waited(
    chained: Chained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delta that was being applied is among what is not picked up again."""
    world, chain = chained
    await follow(world, chain, 3)
    held, seen = held_method(monkeypatch, "prove"), watched(world, monkeypatch)
    put(world, chain.step())
    await held.reached()
    order = await given(world.models.rollback("1.2"))
    held.let_go()
    await order
    await world.models.unpin()
    await until(lambda: world.models.stats.deltas_avoided == 3)
    put(world, chain.step())
    await serves(world, "1.6")
    assert seen == ["1.5", "1.2", "1.6"]


async def test_versions_that_were_rolled_back_from_are_stepped_over(
    chained: Chained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After unpin nothing up to the version that was left serves, nor after a restart; what lies around it does."""
    world, chain = chained
    await follow(world, chain, 5)
    await world.models.rollback("1.3")
    await world.models.unpin()
    await until(lambda: world.models.stats.deltas_avoided == 3)
    restarted = restart(world)
    await restarted.models.start(3)
    seen = watched(restarted, monkeypatch)
    async with restarted.models._versions.turn.take():  # Until all of them wait, so that they come in one go.
        await until(lambda: len(restarted.models._follower._deltas._waiting) == 5)
    await until(lambda: restarted.models.stats.deltas_avoided == 3)
    assert (version_of(world), version_of(restarted), seen) == ("1.3", "1.3", ["1.3"])
    await follow(world, chain, 1)
    await serves(restarted, "1.7")
    await follow(world, chain, 3)
    assert (world.models.stats.resyncs, restarted.models.stats.resyncs) == (0, 0)
    await restarted.models.stop()


async def test_refused_order_changes_nothing(chained: Chained, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was rolled back from stays left, and following goes on: deltas that were passed are read again."""
    world, chain = chained
    await follow(world, chain, 3)
    await world.models.rollback("1.2")
    await world.models.unpin()
    await until(lambda: world.models.stats.deltas_avoided == 2)
    seen = watched(world, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(ModelBuilder, "snapshot", _refused)
        with pytest.raises(VersionRefusedError, match="planted"):
            await world.models.load("1.3")
    await follow(world, chain, 1)
    assert (seen, world.models.stats.resyncs) == (["1.5"], 0)


def _refused(*_arguments: object) -> None:
    raise VersionError("canary", "planted")


async def test_order_that_stands_goes_along_with_a_load(chained: Chained) -> None:
    """A pinned server that is told another version is pinned there: in its answer, in the store, after a restart."""
    world, chain = chained
    await follow(world, chain, 3)
    chain.write_snapshot(end_of(world))
    await follow(world, chain, 1)
    await world.models.pin("1.2")
    assert (await world.models.load("1.5")).version == "1.5"
    assert world.models.order == StandingOrder("pin", "1.5")
    assert [str(version) for version in pinned_versions(world.store_dir)] == ["1.4"]
    put(world, chain.step())
    restarted = restart(world)
    await restarted.models.start(3)
    assert (version_of(restarted), restarted.models.order) == ("1.5", world.models.order)
    await restarted.models.unpin()
    await serves(restarted, "1.6")
    assert pinned_versions(world.store_dir) == []
    await restarted.models.stop()


async def test_unpin_lifts_an_order_that_cannot_be_reached(world: World) -> None:
    """The answer names no version; following begins with the first that comes."""
    world.models.stand(StandingOrder("pin", "7.7"))
    await world.models.start(3)
    assert await answered(world, world.models.unpin()) == ("", "")
    world.models.announce([world.write("1.1")])
    await until(lambda: version_of(world) == "1.1")


async def test_rebuild_makes_way_for_an_order(chained: Chained, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person does not wait until the follower has read a long topic; what was given up is not to blame."""
    world, chain = chained
    await follow(world, chain, 2)
    held = held_pass(monkeypatch)
    await break_chain(world, chain)
    await held.reached()
    order = await given(answered(world, world.models.rollback("1.1")))
    held.let_go()
    assert await order == ("1.1", "1.1")
    assert (held.times, world.models.records.refused) == (1, {"gap": 1})
    assert world.models.records.status_of("1.1").state is VersionState.AVAILABLE


async def test_snapshot_announced_while_an_order_is_carried_out_waits_for_unpin(
    chained: Chained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The follower, which heard of it and waited for its turn, finds the order."""
    world, chain = chained
    await follow(world, chain, 1)
    held, seen = held_method(monkeypatch, "snapshot"), watched(world, monkeypatch)
    order = await given(answered(world, world.models.pin("1.1")))
    await held.reached()
    other = VersionChain(world.store_dir, encoded_version("2.1"))
    world.models.announce([Announcement(APP.name, "2.1", other.manifest_sha256)])
    await until(lambda: len(world.models._versions.turn._lock._waiters or ()) == 1)
    held.let_go()
    assert await order == ("1.1", "1.1")
    async with world.models._versions.turn.take():
        assert seen == ["1.1"]
    await world.models.unpin()
    await serves(world, "2.1")


async def test_announced_snapshot_that_made_way_is_loaded_behind(
    chained: Chained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again when the order is done, rather than passed over."""
    world, chain = chained
    await follow(world, chain, 1)
    other = VersionChain(world.store_dir, encoded_version("2.1"))
    for _ in range(2):
        put(world, other.step())
    held = held_pass(monkeypatch)
    world.models.announce([Announcement(APP.name, "2.3", "of a snapshot that is not here yet")])
    await held.reached()
    order = await given(answered(world, world.models.pin()))
    held.let_go()
    assert await order == ("1.2", "1.2")
    assert world.models.records.refused == {}
    await world.models.unpin()
    await serves(world, "2.3")


async def stops(world: World) -> None:
    """Stop the server, and fail where that hangs."""
    async with asyncio.timeout(20):
        await world.models.stop()


async def test_stop_ends_a_rebuild(chained: Chained, monkeypatch: pytest.MonkeyPatch) -> None:
    """No further delta is looked at, and the worker thread is gone: the process waits for nobody."""
    world, chain = chained
    await follow(world, chain, 2)
    held = held_pass(monkeypatch)
    await break_chain(world, chain)
    await held.reached()
    stopping = await given(stops(world))
    await until(lambda: not world.models._versions.turn.may_go_on)
    held.let_go()
    await stopping
    assert held.thread is not None
    assert (held.times, held.thread.is_alive()) == (1, False)


async def test_stop_answers_the_orders_that_wait(chained: Chained, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one under way is given up, those behind it are not begun; the live version is as it was."""
    world, chain = chained
    await follow(world, chain, 3)
    held = held_pass(monkeypatch)
    orders = [await given(order) for order in (world.models.load("1.3"), world.models.unpin(), world.models.pin("1.2"))]
    await held.reached()
    stopping = await given(stops(world))
    await until(lambda: not world.models._versions.turn.may_go_on)
    held.let_go()
    await stopping
    found = await asyncio.gather(*orders, return_exceptions=True)
    assert [type(one) for one in found] == [GivenUpError] * 3
    assert (version_of(world), world.models.order, held.times) == ("1.4", None, 1)


@pytest.mark.parametrize("steps", range(4))
async def test_stop_right_behind_an_order_ends(chained: Chained, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """A follower that hears of the order and of the end at once ends, whichever step of the loop lies between."""
    monkeypatch.setattr("serving.version_follower._BACKOFF_S", (1000.0, 1000.0))
    world, chain = chained
    await follow(world, chain, 2)
    await break_chain(world, chain)
    follower = world.models._follower
    await until(lambda: (follower._resync_at_s or 0.0) > time.monotonic() + 100.0)
    await world.models.rollback("1.1")
    for _ in range(steps):
        await asyncio.sleep(0)
    await stops(world)
