"""Reading ahead: records are fetched and decoded in a thread of their own while the learner learns.

The thread changes nothing but the moment: which records make a batch is decided by the learner's thread, and written to
the batch log.
"""

from __future__ import annotations

import queue
import threading
from typing import NamedTuple, Protocol

from trainer.errors import SampleError
from trainer.gaps import Gap
from trainer.sample_log import SAMPLES_TOPIC, LogRecord
from trainer.samples import decode_sample

_POLL_MS = 100
_QUEUED_POLLS = 8
"""Polls kept ahead; each is at most `max_batch_records`."""


class PolledLog(Protocol):
    """The part of a log that is read ahead."""

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Return what has arrived, waiting at most `timeout_ms`."""

    def take_gaps(self) -> list[Gap]:
        """Return the gaps before these records."""

    def end_offsets(self) -> dict[str, int]:
        """Return where the partitions end."""

    def close(self) -> None:
        """End the connection."""


class _Polled(NamedTuple):
    records: list[LogRecord]
    gaps: list[Gap]


class ReadAhead:
    """A log that is polled by a thread, at most a few polls ahead.

    Args:
        log: a started log; nobody else may use it from here on.
    """

    def __init__(self, log: PolledLog) -> None:
        self._log = log
        self._queue: queue.Queue[_Polled | Exception] = queue.Queue(_QUEUED_POLLS)
        self._gaps: list[Gap] = []
        self._ends: dict[str, int] = {}
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        self._thread.start()

    def poll(self, timeout_ms: int) -> list[LogRecord]:
        """Return what has arrived, in the order in which it was read, waiting at most `timeout_ms` for it.

        Raises:
            Exception: what ended the thread.
        """
        try:
            polled = (
                self._queue.get(timeout=max(timeout_ms, 0) / 1000.0) if timeout_ms > 0 else self._queue.get_nowait()
            )
        except queue.Empty:
            return []
        if isinstance(polled, Exception):
            raise polled
        self._gaps += polled.gaps
        return polled.records

    def take_gaps(self) -> list[Gap]:
        """Return the gaps before the records of the last `poll`."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def end_offsets(self) -> dict[str, int]:
        """Return the ends as the thread last heard them."""
        return self._ends

    def close(self) -> None:
        """End the thread and close the log; what was read and not polled is left."""
        self._is_closing.set()
        self._thread.join(timeout=10.0)
        self._log.close()

    def _read(self) -> None:
        try:
            while not self._is_closing.is_set():
                records = [decode_ahead(record) for record in self._log.poll(_POLL_MS)]
                gaps = self._log.take_gaps()
                self._ends = self._log.end_offsets()
                if records or gaps:
                    self._put(_Polled(records, gaps))
        except Exception as error:  # Whatever it is, it must end the trainer and not only its reader.
            self._put(error)

    def _put(self, polled: _Polled | Exception) -> None:
        while not self._is_closing.is_set():
            try:
                self._queue.put(polled, timeout=0.1)
            except queue.Full:
                continue
            return


def decode_ahead(record: LogRecord) -> LogRecord:
    """Return a record of the samples topic with its sample, or with why it is none; others as they are."""
    if record.topic != SAMPLES_TOPIC or record.decoded is not None:
        return record
    try:
        return record._replace(decoded=decode_sample(record.value or b""))
    except SampleError as error:
        return record._replace(decoded=error)
