"""The running trainer: take a micro-batch, learn it, now and then publish, checkpoint and tell how it goes.

One thread learns; files are written by others, from copies taken at a batch boundary. Whatever is decided here by the
clock (which records make a batch, when a version is cut, when a window's fate is heard of) is an entry of the batch log
first and takes effect through `BatchMachine` then: a restart repeats it exactly.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from trainer.batch_log import BatchLog
from trainer.batch_machine import BatchMachine
from trainer.batch_records import (
    BatchEntry,
    CutEntry,
    GapEntry,
    HoldsEntry,
    PurgeEntry,
    RejectEntry,
    StartEntry,
    runs_of,
)
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import TrainerConfig, config_hash
from trainer.pending_batch import PendingBatch
from trainer.publisher import Publisher
from trainer.quarantine import Window
from trainer.read_ahead import PolledLog
from trainer.replay import ReplayReport
from trainer.snapshot import build_cut, build_version
from trainer.status import StatusFile, TrainerReport
from trainer.stream_clock import StreamClock
from trainer.version_files import ModelVersion

_IDLE_POLL_MS = 100
"""Longest wait for a record when nothing is pending: bounds the reaction to SIGTERM and the clock of the rest."""
_CHECKPOINT_TIMEOUT_S = 30.0
_SNAPSHOT_AGAIN_S = 1.0
"""Least time between two tries at a whole version on a disk that refuses it."""

logger = logging.getLogger(__name__)


class Trainer:
    """The loop around a learner.

    Args:
        machine: what learns; stands at the end of the batch log.
        batch_log: what it learns is written here first.
        log: samples and items, from where the machine stands.
        publisher: writer of versions.
        checkpoints: writer of checkpoints.
        status: the status file.
        config: intervals and batch bounds.
        start: this start; the first entry.
        parent_version: of the first version.
        replayed: what was learnt again before, for the status file.
        rejected: entries of the batch log that were skipped at this start; their checkpoints go.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        machine: BatchMachine,
        batch_log: BatchLog,
        log: PolledLog,
        publisher: Publisher,
        checkpoints: CheckpointStore,
        status: StatusFile,
        config: TrainerConfig,
        start: StartEntry,
        parent_version: str = "",
        replayed: ReplayReport | None = None,
        rejected: range | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = machine
        self._learner, self._holds = machine.learner, machine.holds
        self._batch_log = batch_log
        self._log = log
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._status = status
        self._config = config
        self._clock_s = clock_s
        self._gate = machine.gate
        self._rejected = rejected
        self._out_of_reach: set[Window] = set()
        """Windows that are to be purged and begin before every checkpoint."""
        self.wants_restart = False
        """Whether this trainer ended so that the next one goes back behind what was rejected."""
        self._next_version = ModelVersion(start.epoch, 0)
        self._parent_version = parent_version
        self._pending = PendingBatch(config, clock_s)
        self._stream_clock = StreamClock()
        self._has_news = True
        self._published_s = self._checkpointed_s = clock_s()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[object] | None = None
        self._report = TrainerReport(replayed or ReplayReport(), checkpoints.refused)
        batch_log.append(start)
        machine.note_start(start)

    def run(self, is_stopping: Callable[[], bool], say_ready: Callable[[], None], catch_up_first: bool) -> None:
        """Learn until stopped; the last act is a checkpoint.

        Args:
            is_stopping: asked between turns.
            say_ready: called once the first version is out.
            catch_up_first: learn the log to its end before the first version: a model that knows nothing must not
                take the place of one that does.
        """
        self.catch_up_holds(is_stopping)
        while catch_up_first and not is_stopping() and not self._has_caught_up():
            self._learn_when_due()
            self._keep_books()
        self.begin()
        say_ready()
        while not is_stopping() and not self.wants_restart:
            self.take_turn()
        self._publisher.wait(timeout_s=5.0)
        if not self.wants_restart:
            self.checkpoint()
        self.close()

    def begin(self) -> None:
        """Write what a rejection can go back to where there is nothing yet, and publish the first version."""
        if self._rejected is not None or not self._checkpoints.has_before(self._gate.good_cut or 1):
            self.checkpoint()
        self.publish()
        self._publisher.wait(timeout_s=60.0)

    def catch_up_holds(self, is_stopping: Callable[[], bool]) -> None:
        """Read what is known of all windows before the first sample is learnt."""
        for entry in self._holds.catch_up(is_stopping):
            self._follow_holds(entry)

    def take_turn(self) -> None:
        """Poll once, learn a micro-batch when one is due, then do what the clock asks for."""
        self._learn_when_due()
        if self._publisher.fence is not None:
            raise self._publisher.fence
        now_s = self._clock_s()
        is_again = self._publisher.needs_snapshot and self._publisher.failed > 0
        interval_s = max(self._config.publish_interval_s, _SNAPSHOT_AGAIN_S if is_again else 0.0)
        if now_s - self._published_s >= interval_s and not self._publisher.is_busy:
            self._published_s = now_s
            if self._publisher.needs_snapshot and self._gate.may_publish:
                if self._publisher.snapshots.may_write:
                    self.publish()
            elif self._publisher.has_unsent:
                self._publisher.retry()
            elif self._has_news and self._gate.may_publish:
                self.publish()
        if self._gate.is_rejected:
            self._reject()
        elif self._machine.quarantine.wanted and self._rejected is None:
            self._purge()
        self._keep_books()

    def _keep_books(self) -> None:
        if self._clock_s() - self._checkpointed_s >= self._config.checkpoint_interval_s:
            self._begin_checkpoint()
        self._status.write_when_due(self._machine, self._publisher, self._batch_log, self._log, self._report)

    def publish(self) -> None:
        """Begin to publish what the learner is now, or to hold it; only while the publisher is not busy."""
        held = self._gate.held
        # A start while a version is held tells so again: whoever was to hear of it may not have.
        reason = self._gate.judge(self._learner) if self._gate.may_publish or held is None else held.reason
        entry = CutEntry(
            version=str(self._next_version),
            parent_version=self._publisher.last_version or self._parent_version,
            time_ms=time.time_ns() // 1_000_000,
            is_whole=bool(reason) or self._gate.is_released or self._publisher.needs_snapshot,
            gate_reason=reason,
        )
        self._batch_log.append(entry)
        label = self._machine.note_cut(entry)
        if entry.is_whole:
            self._publisher.publish(build_version(self._learner, label), reason)
        else:
            self._publisher.publish_delta(build_cut(self._learner, label))
        self._next_version = ModelVersion(self._next_version.epoch, self._next_version.seq + 1)
        self._published_s = self._clock_s()
        self._has_news = False

    def _reject(self) -> None:
        """Write down where to go back to; the next start does it, as it would after a kill right behind this."""
        assert self._gate.held is not None
        self._wait_for_checkpoint()
        position = self._checkpoints.newest_before(self._gate.good_cut)
        if position is None:
            if not self._report.reject_error:
                self._report.reject_error = "no checkpoint from before the held version verifies"
                logger.error("version %s cannot be rejected: %s", self._gate.held.version, self._report.reject_error)
            return
        self._batch_log.append(RejectEntry(self._gate.held.version, position))
        self._batch_log.sync()
        self.wants_restart = True

    def _purge(self) -> None:
        """Write down from where to learn again without the oldest window that waits; the next start does it."""
        window = min(set(self._machine.quarantine.wanted) - self._out_of_reach, default=None)
        if window is None:
            return
        self._wait_for_checkpoint()
        position = self._checkpoints.newest_untouched(window.start_ms)
        if position is None:
            self._out_of_reach.add(window)
            self._report.purge_error = f"no checkpoint is as old as {window.start_ms} (trainer.purge_reach_h)"
            logger.error("window %d to %d stays learnt: %s", *window, self._report.purge_error)
            return
        self._batch_log.append(PurgeEntry(*window, position))
        self._batch_log.sync()
        self.wants_restart = True

    def checkpoint(self) -> None:
        """Write a checkpoint now and wait for it."""
        self._wait_for_checkpoint()
        self._begin_checkpoint()
        self._wait_for_checkpoint()

    def close(self) -> None:
        """End the threads and close both logs."""
        self._log.close()
        self._writer.shutdown(wait=True)
        self._publisher.close()
        self._batch_log.close()

    def _has_caught_up(self) -> bool:
        ends = self._log.end_offsets()
        return bool(ends) and all(self._machine.offsets.get(name, 0) >= end for name, end in ends.items())

    def _learn_when_due(self) -> None:
        self._poll_pending()
        news = self._holds.news()
        if news is not None:
            self._follow_holds(news)
        if self._pending.is_due:
            self._learn_pending()
        self._learn_released()

    def _follow_holds(self, entry: HoldsEntry) -> None:
        self._batch_log.append(entry)
        self._machine.follow_holds(entry)

    def _learn_released(self) -> None:
        """Learn one micro-batch of a window that was let go, if there is any: live samples take turns with it."""
        read = self._holds.next_released(self._config.max_batch_samples)
        if read is None:
            return
        self._batch_log.append(read.entry)
        self._machine.learn_released(read.entry, read.records)
        self._has_news = True

    def _poll_pending(self) -> None:
        if not self._pending.has_room:
            return
        records = self._log.poll(self._pending.left_ms(_IDLE_POLL_MS))
        self._note_gaps()
        self._pending.add(records)

    def _note_gaps(self) -> None:
        """Log what a topic lacked; what was read before it is learnt before it."""
        gaps = self._log.take_gaps()
        while gaps and self._pending:
            self._learn_pending()
        for gap in gaps:
            self._batch_log.append(GapEntry(gap))
            self._machine.note_gap(gap)

    def _learn_pending(self) -> None:
        """Write down and learn one micro-batch."""
        batch = self._pending.take()
        self._stream_clock.note(batch)
        runs = runs_of(batch)
        offsets = self._machine.offsets | {run.name: run.end for run in runs}
        entry = BatchEntry(runs, self._stream_clock.now_ms(offsets, self._log.end_offsets()))
        self._batch_log.append(entry)
        self._machine.learn_batch(entry, batch)
        self._status.metrics.note_learnt(batch)
        self._has_news = True

    def _begin_checkpoint(self) -> None:
        """Copy the state and have it written in the background, unless the last one still is."""
        if self._written is not None and not self._written.done():
            return
        self._checkpointed_s = self._clock_s()
        checkpoint = Checkpoint(
            state=self._learner.state(),
            offsets=dict(self._machine.offsets),
            config_hash=config_hash(self._learner.app, self._learner.config, self._learner.labels),
            last_version=self._publisher.last_version or self._parent_version,
            holds=self._holds.saved(),
            position=self._batch_log.position,
            epoch=self._machine.epoch,
            cuts=self._machine.cuts,
            topic_ids=dict(self._machine.topic_ids),
            environment=dict(self._machine.environment),
            gaps=self._machine.gaps.saved(),
            base=dict(self._machine.base),
            gate=self._gate.saved(),
            quarantine=self._machine.quarantine.saved(),
        )
        self._batch_log.begin_segment()
        self._written = self._writer.submit(self._write_checkpoint, checkpoint)

    def _wait_for_checkpoint(self) -> None:
        if self._written is not None:
            wait([self._written], timeout=_CHECKPOINT_TIMEOUT_S)

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Make the batch log durable, write the checkpoint, and let go what no checkpoint needs any more."""
        try:
            self._batch_log.sync()
            self._checkpoints.write(checkpoint, checkpoint.gate["good_cut"])
            if self._rejected is not None:
                self._checkpoints.forget_between(self._rejected.start, self._rejected.stop)
                self._rejected = None
            self._batch_log.drop_before(self._checkpoints.oldest_position(), 3600.0 * self._config.keep_batch_log_h)
        except OSError as error:
            self._report.note_failed_checkpoint(str(error))
            logger.error("no checkpoint: %s; the one before stays", error)
            return
        self._report.note_checkpoint(checkpoint.position)
