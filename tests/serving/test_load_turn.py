"""Laws of the turn: one at a time, orders are waited for, and it ends."""

from __future__ import annotations

import asyncio

import pytest

from serving.errors import GivenUpError
from serving.load_turn import LoadTurn
from tests.serving.racing import given


async def test_one_at_a_time_in_the_order_of_coming() -> None:
    """Nobody begins before the one before has ended."""
    turn, seen = LoadTurn(), list[str]()

    async def take(name: str) -> None:
        async with turn.take():
            seen.append(name)
            await asyncio.sleep(0)
            seen.append(name)

    await asyncio.gather(*(take(name) for name in "abc"))
    assert seen == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize("is_order", [False, True])
async def test_only_an_order_goes_on_while_an_order_waits(is_order: bool) -> None:
    """What nobody ordered makes way; one order waits for another."""
    turn = LoadTurn()

    async def order() -> None:
        async with turn.take(is_order=True):
            pass

    async with turn.take(is_order):
        assert turn.may_go_on
        waiting = await given(order())
        assert turn.may_go_on is is_order
    await waiting


async def test_order_that_hangs_up_is_waited_for_no_more() -> None:
    """A waiter that was cancelled does not keep others from going on."""
    turn = LoadTurn()

    async def order() -> None:
        async with turn.take(is_order=True):
            raise AssertionError

    async with turn.take():
        waiting = await given(order())
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert turn.may_go_on


async def test_close_waits_for_the_present_turn_and_gives_no_other() -> None:
    """The one that is held is told to end, whoever comes is refused."""
    turn, ended = LoadTurn(), False
    async with turn.take(is_order=True):
        closing = await given(turn.close())
        assert (turn.may_go_on, closing.done()) == (False, False)
        ended = True
    await closing
    assert ended
    with pytest.raises(GivenUpError, match="server stops"):
        async with turn.take():
            raise AssertionError
