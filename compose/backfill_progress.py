"""How far a file has been backfilled: one small JSON file, written whole by rename, and only behind acknowledgements.

It is found again by the content of the events file, wherever that lies and whatever it is called.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import msgspec

from compose.errors import StackError
from compose.imports.errors import EventsFileError
from compose.imports.events_file import ImportOptions
from features.whole_file import replace_file

_VERSION = 1
_CHUNK_BYTES = 1 << 20


class BackfillProgressError(StackError):
    """Expected: the progress file cannot be used, or another backfill of the same file runs."""


class _ProgressJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    file: str
    acknowledged_rows: int
    acknowledged_events: int
    is_finished: bool
    updated_time_ms: int


@dataclass(frozen=True)
class BackfillProgress:
    """What is known to be in Kafka."""

    acknowledged_rows: int = 0
    """All events of the rows up to this one are acknowledged."""
    acknowledged_events: int = 0
    is_finished: bool = False
    updated_time_ms: int = 0


def backfill_key(path: Path, options: ImportOptions) -> str:
    """Return what names this file under this mapping: its content and all that decides about ids and events.

    Raises:
        EventsFileError: the file cannot be read.
    """
    digest = hashlib.sha256(f"{options.salt}\n{options.mapping.model_dump_json()}\n".encode())
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise EventsFileError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()[:32]


class ProgressFile:
    """The progress of one file; holds its lock until `close`, and the kernel lets go of that even after a kill.

    Args:
        folder: `STATE/backfill`; made where it is missing.
        key: of `backfill_key`.
        events_file: its name is written down for people.

    Raises:
        BackfillProgressError: another backfill of this file runs, or the folder cannot be written.
    """

    def __init__(self, folder: Path, key: str, events_file: Path) -> None:
        self._path = folder / f"{key}.json"
        self._events_file = events_file
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (folder / f"{key}.lock").open("a", encoding="utf-8")
        except OSError as error:
            raise BackfillProgressError(f"cannot write to {folder}: {error.strerror}; name another --state") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise BackfillProgressError(f"another backfill of {events_file} runs; wait for it or end it") from error

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    def load(self) -> BackfillProgress:
        """Return what the last run wrote, nothing acknowledged where there was none.

        Raises:
            BackfillProgressError: the file is damaged.
        """
        try:
            data = msgspec.json.decode(self._path.read_bytes(), type=_ProgressJson)
        except FileNotFoundError:
            return BackfillProgress()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackfillProgressError(f"{self._path} cannot be used ({error}); --again begins anew") from error
        if data.version != _VERSION:
            raise BackfillProgressError(f"{self._path} has version {data.version}, not {_VERSION}; --again begins anew")
        return BackfillProgress(
            data.acknowledged_rows, data.acknowledged_events, data.is_finished, data.updated_time_ms
        )

    def save(self, progress: BackfillProgress) -> BackfillProgress:
        """Replace the file by one rename, durable when this returns; return what was written.

        Raises:
            BackfillProgressError: the disk refuses.
        """
        stamped = replace(progress, updated_time_ms=time.time_ns() // 1_000_000)
        data = _ProgressJson(
            _VERSION,
            self._events_file.name,
            stamped.acknowledged_rows,
            stamped.acknowledged_events,
            stamped.is_finished,
            stamped.updated_time_ms,
        )
        try:
            replace_file(self._path, msgspec.json.encode(data), is_durable=True)
        except OSError as error:
            raise BackfillProgressError(f"cannot write {self._path}: {error.strerror}; make room, run again") from error
        return stamped
