"""What the terminal shows while the stack starts: a line for every part once it is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from compose.demo.view import DemoView
from compose.supervisor import PartStatus


class StartView:
    """Says which parts are up, and how long each took.

    Args:
        view: where to write.
        clock: seconds that only go forward.
    """

    def __init__(self, view: DemoView, clock: Callable[[], float] = time.perf_counter) -> None:
        self._view = view
        self._clock = clock
        self._started_s = clock()
        self._up: set[str] = set()

    def show(self, statuses: Sequence[PartStatus]) -> None:
        """Say what came up since the last call."""
        for status in statuses:
            if status.is_up and status.name not in self._up:
                self._up.add(status.name)
                elapsed_s = self._clock() - self._started_s
                self._view.say(
                    f"  {elapsed_s:5.1f} s  {status.name} {status.state.value}  ({len(self._up)}/{len(statuses)})"
                )
