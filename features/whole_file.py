"""Files that readers see whole or not at all: written beside, then renamed into their place."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int = 0o666, is_durable: bool = False) -> None:
    """Put a file in the place of another by one rename; processes that do so at once do not disturb each other.

    Args:
        path: the file; its directory is made where it is missing.
        data: all that it holds from now on.
        mode: who may read and write it, before the process's umask.
        is_durable: whether it survives a power cut once this returns.

    Raises:
        OSError: the disk refuses; the file is as it was, and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write(temporary, data, mode, is_durable)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if is_durable:
        fsync_directory(path.parent)


def _write(path: Path, data: bytes, mode: int, is_durable: bool) -> None:
    path.unlink(missing_ok=True)  # What a killed process of our number left may have another mode.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        if is_durable:
            file.flush()
            os.fsync(file.fileno())


def fsync_directory(directory: Path) -> None:
    """Have the names in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
