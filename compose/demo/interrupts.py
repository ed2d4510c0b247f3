"""Ctrl-C, once: the first ends the demo, what follows must not cut the clean-up short."""

from __future__ import annotations

import signal
from types import TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Lets the first Ctrl-C or SIGTERM raise KeyboardInterrupt, and the others pass.

    A second one would leave processes behind: `Thread.join`, once interrupted, believes that the thread has ended.
    Works in the main thread only, also where a shell started us with SIGINT ignored.
    """

    def __init__(self) -> None:
        self._is_closed = False
        self._before: dict[signal.Signals, Any] = {}

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

    def _interrupt(self, _number: int, _frame: object) -> None:
        if not self._is_closed:
            self._is_closed = True
            raise KeyboardInterrupt
