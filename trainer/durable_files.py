"""Directories that appear whole or not at all, and survive a power cut once the call returns."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from features.whole_file import fsync_directory

TEMPORARY_SUFFIX = ".tmp"


def write_directory(target: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name -> content) as a new directory: temporary beside it, fsync, one rename, fsync of the parent.

    Raises:
        OSError: the target exists and is not empty, or the disk refuses; nothing is visible then.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}{TEMPORARY_SUFFIX}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        for name, data in files.items():
            _write_file(temporary / name, data)
        fsync_directory(temporary)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_directory(target.parent)


def delete_directory(directory: Path) -> None:
    """Rename before deleting, so that nobody ever sees half a directory; a missing one is fine."""
    doomed = directory.with_name(f".{directory.name}.deleted{TEMPORARY_SUFFIX}")
    try:
        directory.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def set_aside(directory: Path) -> Path:
    """Rename a directory, so that a new start begins empty and nothing is lost; return the new place."""
    aside = _free_name(directory)
    directory.rename(aside)
    return aside


def move_aside(directory: Path, names: Iterable[str]) -> Path:
    """Move some entries of a directory into a new one beside it; return that."""
    aside = _free_name(directory)
    aside.mkdir()
    for name in names:
        (directory / name).rename(aside / name)
    fsync_directory(directory)
    return aside


def _free_name(directory: Path) -> Path:
    number = 1
    while (aside := directory.with_name(f"{directory.name}.old-{number}")).exists():
        number += 1
    return aside


def remove_leftovers(parent: Path) -> None:
    """Delete temporary entries that a killed writer left; only the one writer of `parent` may call this."""
    if parent.is_dir():
        for entry in list(parent.iterdir()):
            if entry.name.startswith(".") and entry.name.endswith(TEMPORARY_SUFFIX):
                shutil.rmtree(entry, ignore_errors=True)
                entry.unlink(missing_ok=True)


def _write_file(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
