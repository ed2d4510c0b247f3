"""The thread behind the feature log: sealed segments become parquet parts, hours that are over become one file."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from features.config import FeaturesConfig
from features.errors import FeatureLogError
from features.feature_log_columns import PackedRows, log_layouts
from features.feature_log_files import (
    HOUR_MS,
    compact_hour,
    delete_old_hours,
    hour_folder,
    hour_folders,
    hour_start_ms,
    write_part,
)
from features.feature_log_journal import read_segment, seal

LOCK_FILE = ".lock"
_WAIT_S = 1.0
_TIDY_EVERY_MS = 60_000
_HOUR_SETTLES_MS = 60_000
"""Beyond `flush_s` after its end, an hour gets no more parts but those of a restart."""
_PARTS_GRACE_MS = 600_000
"""A reader that has listed a part finds it for this long after the hour's file holds its rows."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClosedSegment:
    """A segment to which nothing is added any more."""

    path: Path
    reached: frozenset[int]
    """Rounds that are known to have reached the store."""
    num_bytes: int
    started_ms: int


class FeatureLogWorker:
    """Turns segments into files, oldest first, and keeps the folder in order.

    Args:
        folder: the log.
        features: pace and bounds, and what the views hold.
        closed: segments to write; each is taken off when it is in files.
        now_ms: wall clock.
    """

    def __init__(
        self, folder: Path, features: FeaturesConfig, closed: deque[ClosedSegment], now_ms: Callable[[], int]
    ) -> None:
        self._folder = folder
        self._config = features.feature_log
        self._layouts = log_layouts(features)
        self._closed = closed
        self._now_ms = now_ms
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._lock: IO[str] | None = None
        self._tidying: Iterator[None] = iter(())
        self._last_tidy_ms = 0
        self.rows = 0
        self.errors = 0

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="feature-log", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Say that a segment was closed."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Write what is closed, then end the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._lock is not None:
            self._lock.close()

    def _run(self) -> None:
        while True:
            self._wake.wait(_WAIT_S)
            self._wake.clear()
            is_last = self._stopping
            self.write_closed()
            if is_last:
                return
            self.tidy()

    def write_closed(self) -> None:
        """Turn closed segments into files until none is left or the disk refuses."""
        while self._closed:
            try:
                self._write(self._closed[0])
            except FeatureLogError as error:
                # Nothing mends it: put it aside for a person, and go on with the rows behind it.
                self._count("a segment of the feature log is damaged and was put aside", error)
                with contextlib.suppress(OSError):
                    self._closed[0].path.rename(self._closed[0].path.with_suffix(".damaged"))
            except FileNotFoundError:
                pass  # Another ingester that took over has written it.
            except Exception as error:  # The rows stay in the segment; the thread must outlive whatever this was.
                self._count("the feature log cannot write a file", error)
                return
            self._closed.popleft()

    def _write(self, closed: ClosedSegment) -> None:
        seal(closed.path, closed.reached)
        by_hour: dict[tuple[str, str], list[tuple[int, PackedRows]]] = {}
        for batch in read_segment(closed.path):
            for view, packed in batch.groups:
                if view in self._layouts:  # Else it was removed from the code between two starts.
                    by_hour.setdefault((view, hour_folder(batch.version_ms)), []).append((batch.version_ms, packed))
        for (view, hour), batches in by_hour.items():
            self.rows += write_part(self._folder, self._layouts[view], hour, batches, closed.path.stem)
        closed.path.unlink()

    def tidy(self) -> None:
        """Do one step of merging closed hours and deleting old ones; at most one process does it."""
        if self._now_ms() - self._last_tidy_ms >= _TIDY_EVERY_MS and self._has_lock():
            self._last_tidy_ms = self._now_ms()
            self._tidying = self._tidy_steps()
        try:
            for _ in self._tidying:
                self.write_closed()  # New rows go before old hours.
                if self._stopping:
                    self._tidying = iter(())
                    return
        except Exception as error:  # As above: tried again in a minute.
            self._count("the feature log cannot be tidied", error)

    def _tidy_steps(self) -> Iterator[None]:
        now_ms = self._now_ms()
        settled_ms = now_ms - HOUR_MS - self._config.flush_s * 1000 - _HOUR_SETTLES_MS
        for folder in hour_folders(self._folder):
            if hour_start_ms(folder) <= settled_ms:
                yield from compact_hour(folder, now_ms, _PARTS_GRACE_MS)
        oldest_ms = now_ms - int(self._config.keep_days * 24 * HOUR_MS)
        deleted = delete_old_hours(self._folder, oldest_ms, int(self._config.max_gb * 2**30), now_ms)
        if deleted:
            _log.info("deleted %d hours of the feature log", deleted)

    def _has_lock(self) -> bool:
        if self._lock is None:
            lock = (self._folder / LOCK_FILE).open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                return False
            lock.write(str(os.getpid()))
            self._lock = lock
        return True

    def _count(self, what: str, error: Exception) -> None:
        if self.errors % 60 == 0:
            _log.warning("%s: %s", what, error)
        self.errors += 1
