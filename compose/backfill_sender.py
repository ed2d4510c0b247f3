"""Sends the rows of a file and notes how far Kafka has acknowledged them without a gap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from compose.backfill_progress import BackfillProgress
from compose.held_interrupts import HeldInterrupts
from headrace_client import Ack, Event

WINDOW_ROWS = 5_000
"""Rows that may be on their way; a gap in the acknowledgements stops the sending here."""
SAVE_ROWS = 5_000
"""Acknowledged rows between two writes of the progress file. A killed run sends at most both again: 10,000 rows."""
_ACK_TIMEOUT_S = 180.0
"""Longer than the producer's own delivery timeout, which fails the future first."""


class HistoryProducer(Protocol):
    """What a backfill needs of `EventProducer`."""

    def send_history(self, event: Event) -> Future[Ack]:
        """Send an event of the past."""

    def flush(self) -> None:
        """Wait for the acknowledgements."""


class BackfillSender:
    """Sends rows in the order of the file, keeps a bounded number of them on their way.

    Args:
        producer: open; it is not closed.
        start: where to go on.
        save: called with progress that only tells of acknowledged rows.
        on_row: told the number of every row that was sent.
    """

    def __init__(
        self,
        producer: HistoryProducer,
        start: BackfillProgress,
        save: Callable[[BackfillProgress], object],
        on_row: Callable[[int], object],
    ) -> None:
        self._producer = producer
        self._save = save
        self._on_row = on_row
        self._on_their_way: deque[tuple[int, Sequence[Future[Ack]]]] = deque()
        self._saved_rows = start.acknowledged_rows
        self._interrupts = HeldInterrupts()
        self.progress = start

    def send(self, rows: Iterable[tuple[int, Sequence[Event]]]) -> None:
        """Send the rows behind the last acknowledged one, and wait until Kafka has them.

        Raises:
            HeadraceClientError: Kafka did not take or acknowledge an event; the rows before it are saved.
            KeyboardInterrupt: what was sent by then is waited for and saved.
        """
        with self._interrupts:
            try:
                self._send_behind(self.progress.acknowledged_rows, rows)
            except KeyboardInterrupt:
                self._producer.flush()
                raise
            finally:
                self._save_what_arrived()

    def _send_behind(self, start_row: int, rows: Iterable[tuple[int, Sequence[Event]]]) -> None:
        for number, events in rows:
            if number > start_row:
                self._send_row(number, events)
        self._producer.flush()
        while self._on_their_way:
            self._settle(should_wait=True)
        self.progress = replace(self.progress, is_finished=True)

    def _send_row(self, number: int, events: Sequence[Event]) -> None:
        with self._interrupts.held:  # What is sent and what is noted must be the same.
            self._on_their_way.append((number, [self._producer.send_history(event) for event in events]))
        self._on_row(number)
        self._settle(should_wait=len(self._on_their_way) >= WINDOW_ROWS)
        if self.progress.acknowledged_rows - self._saved_rows >= SAVE_ROWS:
            self._save_now()

    def _settle(self, should_wait: bool) -> None:
        """Take away the oldest rows that are acknowledged; wait for the very oldest one if told to."""
        while self._on_their_way:
            number, futures = self._on_their_way[0]
            if not should_wait and not all(future.done() for future in futures):
                return
            for future in futures:
                future.result(_ACK_TIMEOUT_S)
            with self._interrupts.held:
                self._on_their_way.popleft()
                self.progress = replace(
                    self.progress,
                    acknowledged_rows=number,
                    acknowledged_events=self.progress.acknowledged_events + len(futures),
                )
            should_wait = False

    def _save_what_arrived(self) -> None:
        try:
            self._settle(should_wait=False)
        finally:
            self._save_now()

    def _save_now(self) -> None:
        self._save(self.progress)
        self._saved_rows = self.progress.acknowledged_rows
