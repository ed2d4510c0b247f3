"""Writes snapshots into the model store and lets old ones go, so that a store which is slow or away holds up nothing.

A directory is written by whoever asks. A store behind a network is written in a thread of its own, while deltas go on;
after a failure it is left alone for 1, 2, 4 .. 60 s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from trainer.background_call import BackgroundCall
from trainer.version_files import VersionBytes, VersionStore

_PAUSE_S = (1.0, 60.0)
_LOOK_S = 0.2

logger = logging.getLogger(__name__)


class SnapshotWriter:
    """The one writer of a model's versions in a store.

    Args:
        store: the versions of the model.
        keep_snapshots: newest ones kept, beside pinned ones and the last good one.
        clock_s: monotonic seconds.
    """

    def __init__(self, store: VersionStore, keep_snapshots: int, clock_s: Callable[[], float]) -> None:
        self._store = store
        self._keep_snapshots = keep_snapshots
        self._clock_s = clock_s
        self._one_at_a_time = threading.Lock()
        """A version that is being written has no manifest yet: nobody must clean up meanwhile."""
        self._closing = threading.Event()
        self._begun: tuple[VersionBytes, BackgroundCall] | None = None
        self._pause_s = 0.0
        self._resting_until_s = float("-inf")
        self.written_s = clock_s()
        """When the newest snapshot was written, by the clock."""
        self.last_version = ""
        """Newest snapshot in the store by this writer."""
        self.last_write_ms = 0.0
        self.last_bytes = 0
        self.count = 0
        self.failed = 0
        """Snapshots that the store did not take."""
        self.error = ""
        """Why the store did not do what it was asked for last; empty where it did."""

    @property
    def uri(self) -> str:
        """Where the versions are, for people."""
        return self._store.uri

    @property
    def is_remote(self) -> bool:
        """Whether the store is behind a network."""
        return self._store.is_remote

    @property
    def may_write(self) -> bool:
        """Whether nothing is on its way, and the store is not left alone for a while."""
        return self._begun is None and self._clock_s() >= self._resting_until_s

    @property
    def has_finished(self) -> bool:
        """Whether what `begin` began is to be fetched by `finished`."""
        return self._begun is not None and self._begun[1].is_done

    def write(self, version: VersionBytes) -> bool:
        """Write a version and wait for it; return whether it is there. What was on its way is not told of any more."""
        self._begun = None
        if not self._store.is_remote:
            return self._note(version, self._error_of(lambda: self._put(version)))
        call = BackgroundCall(lambda: self._put(version), "write a snapshot")
        while not call.wait(_LOOK_S):
            if self._closing.is_set():
                return False
        return self._note(version, call.error)

    def begin(self, version: VersionBytes) -> None:
        """Begin to write a version into a store behind a network; `finished` tells what became of it."""
        assert self._begun is None
        self._begun = version, BackgroundCall(lambda: self._put(version), "write a snapshot")

    def finished(self) -> VersionBytes | None:
        """Return what `begin` began and the store now has; once, and None where there is nothing."""
        if self._begun is None or not self._begun[1].is_done:
            return None
        (version, call), self._begun = self._begun, None
        return version if self._note(version, call.error) else None

    def tidy(self, good_version: str, trim: Callable[[int], None]) -> None:
        """Delete what is no longer needed.

        Args:
            good_version: the newest that its gate let pass, which stays however many come; empty for no news of that.
            trim: lets deltas before an offset go, which no kept snapshot needs.
        """
        if self._store.is_remote:
            BackgroundCall(lambda: self._tidy(good_version, trim), "prune snapshots")
        else:
            self._tidy(good_version, trim)

    def close(self) -> None:
        """Wait for nothing any more: half a version is seen by nobody."""
        self._closing.set()

    def _put(self, version: VersionBytes) -> None:
        started_s = time.perf_counter()
        with self._one_at_a_time:
            self._store.put(version)
        self.last_write_ms = 1000.0 * (time.perf_counter() - started_s)

    def _error_of(self, call: Callable[[], None]) -> BaseException | None:
        try:
            call()
        except Exception as error:
            return error
        return None

    def _note(self, version: VersionBytes, error: BaseException | None) -> bool:
        """Remember what became of a try."""
        if error is None:
            self.written_s = self._clock_s()
            self.last_version, self.last_bytes = version.version, version.size
            self.count += 1
            self.error, self._pause_s = "", 0.0
            return True
        self.failed += 1
        self.error = str(error)
        if self._store.is_remote:
            self._pause_s = min(max(_PAUSE_S[0], 2.0 * self._pause_s), _PAUSE_S[1])
            self._resting_until_s = self._clock_s() + self._pause_s
        logger.error("version %s is not written: %s", version.version, error)
        return False

    def _tidy(self, good_version: str, trim: Callable[[int], None]) -> None:
        try:
            with self._one_at_a_time:
                if good_version:
                    self._store.note_good(good_version)
                self._store.clean()
                self._store.prune(self._keep_snapshots)
                offsets = [self._store.manifest(str(version)).delta_offset for version in self._store.versions()]
            oldest = min(offsets, default=-1)
            if oldest > 0:
                trim(oldest)
        except Exception as error:  # Store or broker: what is too much now goes the next time.
            logger.warning("old versions are not pruned: %s", error)
