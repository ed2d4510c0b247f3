"""The running trainer: take a micro-batch, learn it, now and then publish, checkpoint and tell how it goes.

One thread learns; files are written by others, from copies taken at a batch boundary. Offsets move with the batches
that were learnt, never with what was only read: a restart reads the rest again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import TrainerConfig, config_hash
from trainer.errors import SampleError
from trainer.holds import Holds
from trainer.item_records import apply_item
from trainer.learner import Learner
from trainer.publisher import Publisher
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, Log, LogRecord
from trainer.samples import Sample, decode_sample
from trainer.snapshot import VersionLabel, build_version
from trainer.status import StatusFile
from trainer.version_files import ModelVersion

_IDLE_POLL_MS = 100
"""Longest wait for a record when nothing is pending: bounds the reaction to SIGTERM and the clock of the rest."""
_CHECKPOINT_TIMEOUT_S = 30.0

logger = logging.getLogger(__name__)


class Trainer:
    """The loop around a learner.

    Args:
        learner: what learns; already restored where there was a checkpoint.
        log: samples and items.
        publisher: writer of versions.
        checkpoints: writer of checkpoints.
        status: the status file.
        config: intervals and batch bounds.
        epoch: of this start.
        offsets: where `log` stands, `topic:partition` -> next offset.
        clock_s: monotonic seconds.
        holds: windows that must not teach.
    """

    def __init__(
        self,
        learner: Learner,
        log: Log,
        publisher: Publisher,
        checkpoints: CheckpointStore,
        status: StatusFile,
        config: TrainerConfig,
        epoch: int,
        offsets: Mapping[str, int],
        parent_version: str = "",
        clock_s: Callable[[], float] = time.monotonic,
        holds: Holds | None = None,
    ) -> None:
        self._learner = learner
        self._log = log
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._status = status
        self._config = config
        self._clock_s = clock_s
        self._holds = holds or Holds(learner.app.name)
        self._next_version = ModelVersion(epoch, 0)
        self._parent_version = parent_version
        self.offsets = dict(offsets)
        self._pending: list[LogRecord] = []
        self._pending_since_s = 0.0
        self._has_news = True
        self._published_s = self._checkpointed_s = clock_s()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[object] | None = None
        self._said: set[str] = set()

    def run(self, is_stopping: Callable[[], bool], say_ready: Callable[[], None], catch_up_first: bool) -> None:
        """Learn until stopped; the last act is a checkpoint.

        Args:
            is_stopping: asked between turns.
            say_ready: called once the first version is out.
            catch_up_first: learn the log to its end before the first version: a model that knows nothing must not
                take the place of one that does.
        """
        while catch_up_first and not is_stopping() and not self._has_caught_up():
            self._learn_when_due()
        self.publish()
        self._publisher.wait(timeout_s=60.0)
        say_ready()
        while not is_stopping():
            self.take_turn()
        self._publisher.wait(timeout_s=5.0)
        self.checkpoint()
        self.close()

    def take_turn(self) -> None:
        """Poll once, learn a micro-batch when one is due, then do what the clock asks for."""
        self._learn_when_due()
        now_s = self._clock_s()
        if now_s - self._published_s >= self._config.publish_interval_s and not self._publisher.is_busy:
            self._published_s = now_s
            if self._has_news:
                self.publish()
            elif self._publisher.has_unannounced:
                self._publisher.retry_announcement()
        if now_s - self._checkpointed_s >= self._config.checkpoint_interval_s:
            self._begin_checkpoint()
        self._status.write_when_due(self._learner, self._publisher, self.offsets, self._log, self._holds)

    def publish(self) -> None:
        """Begin to publish what the learner is now; only while the publisher is not busy."""
        offsets = {name: offset for name, offset in self.offsets.items() if name.startswith(SAMPLES_TOPIC)}
        label = VersionLabel(
            name=self._learner.app.name,
            version=self._next_version,
            parent_version=self._publisher.last_version or self._parent_version,
            offsets=offsets,
            created_time_ms=time.time_ns() // 1_000_000,
        )
        self._publisher.publish(build_version(self._learner, label))
        self._next_version = ModelVersion(self._next_version.epoch, self._next_version.seq + 1)
        self._published_s = self._clock_s()
        self._has_news = False

    def checkpoint(self) -> None:
        """Write a checkpoint now and wait for it."""
        self._wait_for_checkpoint()
        self._begin_checkpoint()
        self._wait_for_checkpoint()

    def close(self) -> None:
        """End the threads."""
        self._writer.shutdown(wait=True)
        self._publisher.close()

    def _has_caught_up(self) -> bool:
        ends = self._log.end_offsets()
        return bool(ends) and all(self.offsets.get(name, 0) >= end for name, end in ends.items())

    def _learn_when_due(self) -> None:
        self._poll_pending()
        self._holds.follow()
        if self._is_batch_due():
            self._learn_pending()
        self._learn_released()

    def _learn_released(self) -> None:
        """Learn one micro-batch of a window that was let go, if there is any: live samples take turns with it."""
        read = self._holds.next_released(self._config.max_batch_samples)
        if read is None:
            return
        samples = [sample for record in read.records if (sample := self._decoded(record)) is not None]
        samples = [s for s in samples if self._holds.is_in_window(read.window_start_ms, s.broker_time_ms or 0)]
        if samples:
            self._learner.learn_released(samples)
            self._has_news = True
        self._holds.forget_slice(read)

    def _poll_pending(self) -> None:
        room = self._config.max_batch_samples - len(self._pending)
        if room <= 0:
            return
        waited_ms = 1000.0 * (self._clock_s() - self._pending_since_s) if self._pending else 0.0
        left_ms = self._config.batch_wait_ms - waited_ms if self._pending else _IDLE_POLL_MS
        records = self._log.poll(max(0, int(left_ms)))
        if records and not self._pending:
            self._pending_since_s = self._clock_s()
        self._pending.extend(records)

    def _is_batch_due(self) -> bool:
        if not self._pending:
            return False
        has_enough = len(self._pending) >= self._config.min_batch_samples
        return has_enough or 1000.0 * (self._clock_s() - self._pending_since_s) >= self._config.batch_wait_ms

    def _learn_pending(self) -> None:
        """Learn one micro-batch; items in it come into effect before its samples."""
        batch, self._pending = (
            self._pending[: self._config.max_batch_samples],
            self._pending[self._config.max_batch_samples :],
        )
        decoded = [(sample, record) for record in batch if (sample := self._decoded(record)) is not None]
        if decoded:
            held = [self._holds.defer(sample.broker_time_ms or 0, record) for sample, record in decoded]
            self._learner.learn_batch([sample for sample, _ in decoded], held)
        for record in batch:
            self.offsets[f"{record.topic}:{record.partition}"] = record.offset + 1
        self._has_news = True

    def _decoded(self, record: LogRecord) -> Sample | None:
        """Return a sample, None for an item (applied) and for what cannot be used (counted, said once a reason)."""
        try:
            if record.topic == ITEMS_TOPIC:
                apply_item(self._learner.builder, record.key, record.value)
                return None
            return decode_sample(record.value or b"")
        except SampleError as error:
            self._learner.refuse(error.reason)
            if error.reason not in self._said:
                self._said.add(error.reason)
                logger.warning(
                    "%s:%d@%d is passed over (%s: %s); further ones are only counted",
                    *(record.topic, record.partition, record.offset, error.reason, error),
                )
            return None

    def _begin_checkpoint(self) -> None:
        """Copy the state and have it written in the background, unless the last one still is."""
        if self._written is not None and not self._written.done():
            return
        self._checkpointed_s = self._clock_s()
        checkpoint = Checkpoint(
            state=self._learner.state(),
            offsets=dict(self.offsets),
            config_hash=config_hash(self._learner.app, self._learner.config, self._learner.labels),
            last_version=self._publisher.last_version or self._parent_version,
            holds=self._holds.saved(),
        )
        self._written = self._writer.submit(self._write_checkpoint, checkpoint)

    def _wait_for_checkpoint(self) -> None:
        if self._written is not None:
            wait([self._written], timeout=_CHECKPOINT_TIMEOUT_S)

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        try:
            self._checkpoints.write(checkpoint)
        except OSError as error:
            logger.error("no checkpoint: %s; the one before stays", error)
