"""Ctrl-C at the right moment: held back while two things must stay equal or compiled code runs, raised right after.

An exception that a signal raises where numba hands Python's values to compiled code can end the process with SIGSEGV.
"""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any


class HeldInterrupts:
    """Raises KeyboardInterrupt as always, but never inside `with held_interrupts.held:`.

    Python raises it between any two instructions, so a record could be sent and not be noted. Works in the main thread;
    elsewhere no signal arrives and nothing is changed. Where a shell started us with SIGINT ignored, it stays ignored.
    """

    def __init__(self) -> None:
        self.held = Held()
        self._before: Any = None

    def __enter__(self) -> HeldInterrupts:
        is_heeded = threading.current_thread() is threading.main_thread()
        if is_heeded and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self.held.interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


class Held:
    """The region; one object for all passes, as it is entered once a row."""

    def __init__(self) -> None:
        self._is_inside = False
        self._is_waiting = False

    def __enter__(self) -> None:
        self._is_inside = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_inside = False
        self.let_through()

    def let_through(self) -> None:
        """Raise what waits: for a region that is long, at a point of it where an interrupt does no harm."""
        if self._is_waiting:
            self._is_waiting = False
            raise KeyboardInterrupt

    def interrupt(self, _number: int, _frame: object) -> None:
        """Raise now, or when the region is left."""
        if not self._is_inside:
            raise KeyboardInterrupt
        self._is_waiting = True
