"""Laws of waiting for a turn."""

from __future__ import annotations

import asyncio

from serving.turns import Turns


async def test_important_ones_go_first() -> None:
    """A prefetch that came earlier is let in later."""
    turns, order = Turns(1), list[str]()

    async def enter(name: str, is_last: bool) -> None:
        assert await turns.enter(is_last, 60.0)
        order.append(name)
        turns.leave()

    assert await turns.enter(False, 0.0)
    waiting = [asyncio.create_task(enter(name, name == "prefetch")) for name in ("prefetch", "one", "two")]
    await asyncio.sleep(0)
    turns.leave()
    await asyncio.gather(*waiting)
    assert order == ["one", "two", "prefetch"]


async def test_waiting_ends_with_its_time() -> None:
    """Who waited too long is not let in, and takes no place."""
    turns = Turns(1)
    assert await turns.enter(False, 1.0)
    assert not await turns.enter(False, 0.0)
    assert not await turns.enter(False, 0.001)
    turns.leave()
    assert await turns.enter(False, 0.0)


async def test_caller_that_hangs_up_leaves_its_place_to_others() -> None:
    """Cancelled while waiting or in the moment of being let in: the place is free again."""
    for is_let_in in (False, True):
        turns = Turns(1)
        assert await turns.enter(False, 1.0)
        waiting = asyncio.create_task(turns.enter(False, 60.0))
        await asyncio.sleep(0)
        if is_let_in:
            turns.leave()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not is_let_in:
            turns.leave()
        assert await turns.enter(False, 0.0)
