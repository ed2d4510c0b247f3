"""One call in a thread that nobody has to wait for: where it hangs, the process ends all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundCall:
    """Begins a call at once.

    Args:
        call: what to do.
        name: of the thread.
    """

    def __init__(self, call: Callable[[], None], name: str) -> None:
        self._call = call
        self._ended = threading.Event()
        self.error: BaseException | None = None
        """What it raised."""
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def is_done(self) -> bool:
        """Whether it ended, one way or the other."""
        return self._ended.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; return whether that came."""
        return self._ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self.error = error
        finally:
            self._ended.set()
