"""Lets so many in at a time, the important ones first."""

from __future__ import annotations

import asyncio
from collections import deque

_Place = asyncio.Future[bool]


class Turns:
    """A semaphore with two queues and an end to waiting.

    Args:
        num_places: how many may be inside.
    """

    def __init__(self, num_places: int) -> None:
        self._free = num_places
        self._first: deque[_Place] = deque()
        self._last: deque[_Place] = deque()

    async def enter(self, is_last: bool, timeout_s: float) -> bool:
        """Wait for a place and take it, or return False when that takes too long; `is_last` lets others go first."""
        if self._free:  # Then nobody waits.
            self._free -= 1
            return True
        if timeout_s <= 0.0:
            return False
        loop = asyncio.get_running_loop()
        place: _Place = loop.create_future()
        (self._last if is_last else self._first).append(place)
        giving_up = loop.call_later(timeout_s, _give_up, place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():  # Let in and hung up at the same moment.
                self.leave()
            raise
        finally:
            giving_up.cancel()

    def leave(self) -> None:
        """Give the place to whoever is next and still waits."""
        for line in (self._first, self._last):
            while line:
                place = line.popleft()
                if not place.done():
                    place.set_result(True)
                    return
        self._free += 1


def _give_up(place: _Place) -> None:
    if not place.done():
        place.set_result(False)
