"""One process a state: what learns there holds a lock, which the kernel lets go of even when its holder is killed."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO

from trainer.errors import StateBusyError

_PAUSE_S = 0.1


def lock_state(directory: Path, wait_s: float = 0.0) -> IO[str]:
    """Take the lock of a trainer's directory; closing what this returns lets go of it.

    Args:
        directory: `STATE/trainer`; made where it is missing.
        wait_s: how long another holder may take to end.

    Raises:
        StateBusyError: another process learns there.
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / "lock").open("a", encoding="utf-8")
    until_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until_s:
                lock.close()
                raise StateBusyError(
                    f"another trainer, or `headrace train`, runs on {directory}; end it, then try again"
                ) from error
            time.sleep(_PAUSE_S)
        else:
            return lock
