"""Tells when a file was written or replaced, for what is followed without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

FileStamp = tuple[int, int, int] | None


def stamp_of(path: Path) -> FileStamp:
    """Return what changes when a file is written or replaced; None where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


async def check_every(check: Callable[[], None], period_s: float) -> None:
    """Call `check`, which reads files, in a thread every `period_s`, for good."""
    while True:
        await asyncio.sleep(period_s)
        await asyncio.to_thread(check)
