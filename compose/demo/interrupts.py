"""Ctrl-C, once: the first ends the demo, what follows must not cut the clean-up short."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


_Result = TypeVar("_Result")


class Interrupts:
    """Lets the first Ctrl-C or SIGTERM raise KeyboardInterrupt, and the others pass.

    A second one would leave processes behind: `Thread.join`, once interrupted, believes that the thread has ended.
    Works in the main thread only, also where a shell started us with SIGINT ignored.
    """

    def __init__(self) -> None:
        self._is_closed = False
        self._before: dict[signal.Signals, Any] = {}
        self._cancel: Callable[[], object] | None = None

    def __enter__(self) -> Interrupts:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """Let all that come from now on pass: a clean-up has begun, and it is bounded."""
        self._is_closed = True

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine to its end; an interrupt cancels it, instead of tearing through whatever runs just then.

        Raises:
            KeyboardInterrupt: it was interrupted, and has cleaned up.
        """
        try:
            return asyncio.run(self._cancellable(work))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    async def _cancellable(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return await task
        finally:
            self._cancel = None

    def _interrupt(self, _number: int, _frame: object) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._cancel is None:
            raise KeyboardInterrupt
        self._cancel()
