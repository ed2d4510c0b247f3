"""Whose turn it is to change what serves: one order or one step of the follower at a time, decided and done in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serving.errors import GivenUpError


class LoadTurn:
    """A lock that knows whether a person waits for it, and an end.

    What is decided inside a turn still holds when it is done: nothing else goes live meanwhile, and no order comes or
    goes.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._orders_waiting = 0
        self._is_order = False
        self._is_closing = False

    @asynccontextmanager
    async def take(self, is_order: bool = False) -> AsyncIterator[None]:
        """Wait for the turn and hold it for the block.

        Args:
            is_order: whether a person waits; what is done without an order makes way.

        Raises:
            GivenUpError: the server stops.
        """
        self._orders_waiting += is_order
        try:
            await self._lock.acquire()
        finally:
            self._orders_waiting -= is_order
        try:
            if self._is_closing:
                raise GivenUpError("the server stops; ask it again when it is back")
            self._is_order = is_order
            yield
        finally:
            self._lock.release()

    @property
    def may_go_on(self) -> bool:
        """Whether long work of the present turn is still of use; asked by the worker thread."""
        return not self._is_closing and (self._is_order or not self._orders_waiting)

    async def close(self) -> None:
        """Give no more turns, and wait for the end of the present one."""
        self._is_closing = True
        async with self._lock:
            pass
