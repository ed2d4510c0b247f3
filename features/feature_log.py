"""The feature log: every row that is written online, in parquet files that Feast reads as its offline source.

Commit order, for the rows of one transaction (`features/online_writer.py`):
    1. the rows get their version, the clock now: Feast's event timestamp, when the server can read them
    2. the journal notes them with a round number that is never used again (one write to a file)
    3. Redis takes rows, Kafka offsets, version and this round as the `noted` one, all or nothing
    4. the next batch in the journal says that the round reached the store
    5. every `flush_s` the segment is closed; a thread seals it, turns the batches that reached the store into parquet
       parts, each whole by one rename and synced, and deletes the segment last
Killed before 3, the round is not in Redis: its batch does not count, and its rows are read again from the offsets.
Killed after 3, the round in Redis names the last batch that counts; every earlier one is named in the journal itself.
Killed within 5, the segment is still there and gives the same parts, with the same names, again.
A try whose answer is lost has its own round, so the rows are logged with the version that Redis really took. So a row
is in the log exactly once if and only if the server could read it; what Redis itself loses (a flush, an older copy) was
readable and stays, and the rows that replace it have higher versions. Lost together with the answer to a batch, or with
the ingester that waited for it, is whether it was readable: that batch counts.

A disk that takes nothing stops no feature: the rows go unlogged, Redis keeps since when beside them, and when the disk
takes rows again the gap is written to `gaps.jsonl`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from features.config import FeaturesConfig
from features.errors import FeatureLogError
from features.feast_rows import EncodedRow
from features.feature_log_columns import log_layouts, pack_rows
from features.feature_log_files import newest_logged_version, prepare_views
from features.feature_log_journal import SUFFIX, JournalSegment, epoch_of, newest_version, reached_rounds, seal
from features.feature_log_worker import ClosedSegment, FeatureLogWorker
from features.online_writer import Claim, RowBatch

JOURNAL_FOLDER, GAPS_FILE = "_journal", "gaps.jsonl"
_MAX_SEGMENT_BYTES = 32 * 2**20
"""A segment is turned into Arrow in one piece: this bounds the memory for it."""
_RETRY_MS = 1000
"""A disk that took nothing is asked again after this."""

_log = logging.getLogger(__name__)


class FeatureLog:
    """Notes rows before they are written online and has them turned into parquet.

    All methods are called from the ingester's one thread.

    Args:
        folder: the log, `STATE/feature_log`.
        features: pace and bounds, and what the views hold.
        now_ms: wall clock.
    """

    def __init__(self, folder: Path, features: FeaturesConfig, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._journal = folder / JOURNAL_FOLDER
        self._config = features.feature_log
        self._layouts = log_layouts(features)
        self._now_ms = now_ms
        self._segment: JournalSegment | None = None
        self._closed: deque[ClosedSegment] = deque()
        self._worker = FeatureLogWorker(folder, features, self._closed, now_ms)
        self._gap = ""
        self._is_usable = False
        self._next_try_ms = 0
        self._noted_rows = self._unlogged_rows = self._errors = 0

    def newest(self) -> tuple[int, int]:
        """Return a version and an epoch that nothing in the log is above: a Redis that started empty forgot them."""
        version_ms = newest_logged_version(self._folder)
        segments = list(self._journal.glob(f"*{SUFFIX}"))
        return max([version_ms, *map(newest_version, segments)]), max(map(epoch_of, segments), default=0)

    def start_epoch(self, claim: Claim) -> None:
        """Take over under a new claim: seal what former writers left, as the store tells which rounds it took.

        A log that cannot be used (a full disk, a field of another kind) stops no feature: rows go unlogged, counted.
        """
        self._gap = claim.unlogged
        self._close_segment(frozenset())
        if not self._config.enabled:
            return
        try:
            prepare_views(self._folder, self._layouts.values())
            self._take_over(claim)
            self._is_usable = True
        except (OSError, FeatureLogError) as error:
            self._count_error("the feature log cannot be used", error)
        self._worker.start()

    def _take_over(self, claim: Claim) -> None:
        """Seal and queue the segments of former claims; those that this process has queued know their rounds."""
        queued = {closed.path for closed in tuple(self._closed)}
        left = [path for path in sorted(self._journal.glob(f"*{SUFFIX}")) if epoch_of(path) < claim.epoch]
        for epoch in sorted({epoch_of(path) for path in left}):
            segments = [path for path in left if epoch_of(path) == epoch and path not in queued]
            reached = reached_rounds(segments, claim.noted_rounds.get(epoch, frozenset()))
            for path in segments:
                with contextlib.suppress(FileNotFoundError):  # Written by a former owner that is still at it.
                    with contextlib.suppress(FeatureLogError):  # Damaged: the worker finds out too, and puts it aside.
                        seal(path, reached)
                    self._closed.append(ClosedSegment(path, reached, path.stat().st_size, self._now_ms()))

    def pack(self, rows: Sequence[EncodedRow]) -> bytes:
        """Return rows as the journal keeps them; nothing where there is no log."""
        return pack_rows(rows) if self._config.enabled else b""

    def note(self, batch: RowBatch) -> str:
        """Note a batch; return the open gap, empty where the batch is in the journal."""
        if self._is_usable and self._now_ms() >= self._next_try_ms:
            try:
                self._append(batch)
            except OSError as error:
                self._next_try_ms = self._now_ms() + _RETRY_MS
                self._count_error("rows go unlogged", error)
            else:
                self._noted_rows += batch.num_rows
                return ""
        self._unlogged_rows += batch.num_rows
        if not self._gap:
            self._gap = str(batch.version_ms)
        return self._gap

    def _append(self, batch: RowBatch) -> None:
        if self._segment is not None and self._segment.num_bytes >= _MAX_SEGMENT_BYTES:
            self._close_segment(frozenset({batch.noted_round}))
        if self._segment is None:
            waiting = sum(closed.num_bytes for closed in tuple(self._closed))
            if waiting >= self._config.max_journal_mb * 2**20:
                raise OSError(
                    None, f"{waiting} bytes wait to become files, features.feature_log.max_journal_mb is less"
                )
            self._segment = JournalSegment(self._journal, batch.epoch, batch.version_ms)
        if self._gap:
            self._record_gap(batch.version_ms)
        self._segment.append(batch)

    def _record_gap(self, to_ms: int) -> None:
        """Write the gap down before the store forgets it; written twice after a crash, with the same start."""
        self._add_gap_line({"from_ms": int(self._gap), "to_ms": to_ms, "reason": "rows were not logged"})
        _log.warning("the feature log has a gap: rows written from %s to %d are not in it", self._gap, to_ms)
        self._gap = ""

    def _add_gap_line(self, line: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / GAPS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def tick(self, noted_round: int) -> None:
        """Close the segment when it is `flush_s` old; `noted_round` is the newest that reached the store."""
        if self._segment is not None and self._now_ms() - self._segment.started_ms >= self._config.flush_s * 1000:
            self._close_segment(frozenset({noted_round}))

    def _close_segment(self, reached: frozenset[int]) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        segment.close()
        # With nothing known the claim that asks will seal it.
        if reached:
            self._closed.append(ClosedSegment(segment.path, reached, segment.num_bytes, segment.started_ms))
            self._worker.wake()

    def _count_error(self, what: str, error: Exception) -> None:
        if self._errors == 0 or not self._gap:
            _log.warning("%s: %s", what, error)
        self._errors += 1

    def note_loss(self) -> None:
        """Write down that the store lost rows: until they are read again, the server reads less than the log says."""
        line = {"at_ms": self._now_ms(), "reason": "the store lost rows"}
        try:
            self._add_gap_line(line)
        except OSError as error:
            self._count_error("a loss of the store is not written down", error)

    def close(self, noted_round: int | None, timeout_s: float = 5.0) -> None:
        """Turn what is noted into files, as far as the time goes; the next start does the rest.

        Args:
            noted_round: the newest that reached the store; None where a try is open, which only the store can tell.
            timeout_s: of the wait.
        """
        self._close_segment(frozenset() if noted_round is None else frozenset({noted_round}))
        self._worker.stop(timeout_s)

    def flush(self, noted_round: int, timeout_s: float = 60.0) -> None:
        """Turn what is noted into files now.

        Raises:
            TimeoutError: they are not written within `timeout_s`.
        """
        self._close_segment(frozenset({noted_round}))
        deadline_s = time.monotonic() + timeout_s
        pause = threading.Event()
        while self._closed:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{len(self._closed)} segments are not written after {timeout_s:g} s")
            self._worker.wake()
            pause.wait(0.01)

    def summary(self) -> Mapping[str, Any]:
        """Return what `STATE/ingester.json` says of the log."""
        open_since = self._segment.started_ms if self._segment is not None else None
        oldest = min([closed.started_ms for closed in tuple(self._closed)] + [open_since or self._now_ms()])
        return {
            "enabled": self._config.enabled,
            "rows": self._noted_rows,
            "rows_in_files": self._worker.rows,
            "lag_s": round(max(0, self._now_ms() - oldest) / 1000, 1),
            "segments_waiting": len(self._closed),
            "errors": self._errors + self._worker.errors,
            "unlogged_rows": self._unlogged_rows,
            "gap_since_ms": int(self._gap or 0),
        }
