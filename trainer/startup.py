"""A start: newest good checkpoint, the batch log behind it learnt again, then a trainer that goes on live.

1. read the newest checkpoint that verifies; one of another configuration is set aside with its batch log
2. open the batch log, cut a torn end, tell damage
3. learn again, batch for batch, what stands behind the checkpoint
   (where samples were rejected behind it: from the checkpoint that the rejection goes back to, without them)
4. go to the offsets where that ends, tell what the topics no longer hold, open the next epoch
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from features.config import ConfigError
from trainer.batch_log import BatchLog
from trainer.batch_machine import BatchMachine
from trainer.batch_records import BaseEntry, GapEntry, PurgeEntry, RejectEntry, StartEntry
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import TrainerConfig, config_hash
from trainer.durable_files import set_aside
from trainer.errors import CheckpointError, CheckpointFormatError
from trainer.gate import Gate
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.publisher import Publisher, next_epoch
from trainer.read_ahead import PolledLog, ReadAhead
from trainer.refused_batches import RefusedBatches
from trainer.replay import Replay
from trainer.sample_log import Log
from trainer.status import StatusFile
from trainer.trainer import Trainer
from trainer.trainer_metrics import TrainerMetrics
from trainer.version_files import ModelVersion, StoreError, VersionStore
from trainer.version_topics import VersionTopics

_STORE_PAUSE_S = (1.0, 30.0)
_STOP_LOOK_S = 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Directories of one trainer.

    Args:
        state: the stack's state directory.
        store: the versions of the model.
    """

    state: Path
    store: VersionStore

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.state / "trainer" / "checkpoints"

    @property
    def batch_log(self) -> Path:
        """Where the segments of the batch log lie."""
        return self.state / "trainer" / "batch_log"

    @property
    def is_used(self) -> bool:
        """Whether a trainer has learnt here."""
        return any(_has_files(directory) for directory in (self.checkpoints, self.batch_log))

    @property
    def refused_batches(self) -> Path:
        """Where batches lie whose steps were not taken."""
        return self.state / "trainer" / "refused_batches"

    @property
    def status(self) -> Path:
        """The status file."""
        return self.state / "trainer.json"


class Startup:
    """The steps of a start, in their order.

    Args:
        learner: a new one.
        config: of the trainer.
        places: its directories.
        holds: windows that must not teach; knows nothing yet.
        metrics: told to Prometheus, over several starts of one process.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        config: TrainerConfig,
        places: Places,
        holds: Holds,
        metrics: TrainerMetrics | None = None,
    ) -> None:
        self._metrics = metrics
        self._learner = learner
        self._config = config
        self._places = places
        self._config_hash = config_hash(learner.app, learner.config, learner.labels)
        reach_ms = round(3_600_000 * config.purge_reach_h)
        self._checkpoints = CheckpointStore(places.checkpoints, config.keep_checkpoints, reach_ms)
        self._checkpoint = self._restored()
        self._batch_log = self._opened()
        self._rejected = self._went_back()
        self._stored: list[ModelVersion] = []
        """What was in the store at the start."""
        self.refused_batches = RefusedBatches(places.refused_batches)
        self.machine = _machine_at(self._checkpoint, learner, holds, Gate(config.gate), self.refused_batches)

    @property
    def is_anew(self) -> bool:
        """Whether what is learnt here was never published, beside versions of a trainer that knew more."""
        return self.machine.cuts == 0 and bool(self._stored)

    def open_trainer(
        self,
        log: Log,
        topics: VersionTopics,
        is_stopping: Callable[[], bool] = lambda: False,
        reads_ahead: bool = True,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> Trainer | None:
        """Learn again what the batch log says, and return the trainer that goes on; None where it was stopped.

        Args:
            log: connected, not started.
            topics: where versions go.
            is_stopping: asked while learning again.
            reads_ahead: poll the log in a thread.
            clock_s: monotonic seconds.
        """
        replay = Replay(self.machine, log, is_stopping)
        if self._batch_log.entries:
            logger.info("learning again %d entries of the batch log", len(self._batch_log.entries))
        if not replay.apply_all(self._batch_log.entries, self._checkpoint.position if self._checkpoint else 0):
            return None
        self._batch_log.entries = []
        if not self._look_at_store(is_stopping):
            return None
        if self.machine.needs_beginning and not self._begin_behind_history(log, is_stopping):
            return None
        while not log.start(self.machine.offsets, self.machine.topic_ids):
            if is_stopping():
                return None
        for gap in log.take_gaps():
            self._batch_log.append(GapEntry(gap))
            self.machine.note_gap(gap)
        last_version = self._checkpoint.last_version if self._checkpoint else ""
        polled: PolledLog = ReadAhead(log) if reads_ahead else log
        return Trainer(
            machine=self.machine,
            batch_log=self._batch_log,
            log=polled,
            publisher=Publisher(
                self._places.store,
                topics,
                self._config.keep_snapshots,
                self._config.snapshot_interval_s,
                self._batch_log.sync,
            ),
            checkpoints=self._checkpoints,
            status=StatusFile(self._places.status, self.refused_batches, self._metrics),
            config=self._config,
            start=self._start_entry(log, last_version),
            parent_version=self._last_visible(last_version),
            replayed=replay.report,
            rejected=self._rejected,
            clock_s=clock_s,
        )

    def _begin_behind_history(self, log: Log, is_stopping: Callable[[], bool]) -> bool:
        """Ask the topics where they go on from the history, and write it down; False where it was stopped."""
        base = self.machine.base
        while (offsets := log.offsets_at(base["live_from_ms"])) is None:
            if is_stopping():
                return False
        entry = BaseEntry(base["digest"], base["live_from_ms"], offsets)
        self._batch_log.append(entry)
        self.machine.begin(entry)
        logger.info("going on from the history %s at %s", base["digest"], offsets)
        return True

    def _look_at_store(self, is_stopping: Callable[[], bool]) -> bool:
        """Learn which versions there are; False where it was stopped.

        A store that is away is waited for only where this state never published: then nothing else tells which epochs
        there were, and whether another trainer knew more.
        """
        pause_s, has_said = _STORE_PAUSE_S[0], False
        while True:
            try:
                self._stored = self._places.store.versions()
                return True
            except StoreError as error:
                if self.machine.cuts:
                    logger.warning("going on without the versions in the store: %s", error)
                    return True
                if not has_said:
                    logger.warning("a first start waits for the store, for it must know what is there: %s", error)
                has_said = True
            if _is_stopped_within(pause_s, is_stopping):
                return False
            pause_s = min(2.0 * pause_s, _STORE_PAUSE_S[1])

    def _start_entry(self, log: Log, last_version: str) -> StartEntry:
        epoch = max(next_epoch(self._stored, last_version), self.machine.epoch + 1)
        return StartEntry(epoch, self._config_hash, environment_of(self._learner), dict(log.topic_ids))

    def _last_visible(self, last_version: str) -> str:
        return str(self._stored[-1]) if self._stored else last_version

    def _restored(self) -> Checkpoint | None:
        """Bring the learner to the newest good checkpoint of this configuration; one of another is set aside."""
        try:
            checkpoint = self._checkpoints.read_newest()
        except CheckpointFormatError as error:
            self._set_aside(str(error))
            return None
        if checkpoint is None:
            return None
        if checkpoint.config_hash != self._config_hash or not self._learner.fits(checkpoint.state):
            lost = "; its history is not in the new state, `headrace train` learns it again" if checkpoint.base else ""
            self._set_aside(f"the configuration changed since the last checkpoint{lost}")
            return None
        self._learner.restore(checkpoint.state)
        progress = self._learner.progress
        logger.info("resumed at step %d, %d samples", progress.step, progress.samples)
        return checkpoint

    def _opened(self) -> BatchLog:
        """Open the batch log behind the checkpoint; without one it must reach back to the very first batch."""
        batch_log = BatchLog(self._places.batch_log, self._checkpoint.position if self._checkpoint else 0)
        entries = batch_log.entries
        if self._checkpoint is not None or not entries:
            return batch_log
        first = entries[0]
        if isinstance(first, BaseEntry):
            batch_log.close()
            raise CheckpointError(
                f"the checkpoints of the history {first.digest}, on which {self._places.batch_log} begins, are gone;"
                " put them back, or move that directory away and run `headrace train --history` again"
            )
        if isinstance(first, StartEntry) and first.config_hash == self._config_hash:
            return batch_log
        batch_log.close()
        logger.warning("the batch log is of another configuration: set aside as %s", set_aside(self._places.batch_log))
        return BatchLog(self._places.batch_log)

    def _went_back(self) -> range | None:
        """Stand at the checkpoint that a rejection or purge in the log goes back to; return its entries, None for none.

        Raises:
            CheckpointError: that checkpoint is gone or bad.
        """
        position = self._checkpoint.position if self._checkpoint else 0
        rejections = [
            range(entry.position, position + place)
            for place, entry in enumerate(self._batch_log.entries)
            if isinstance(entry, RejectEntry | PurgeEntry)
        ]
        if rejections and (first := min(entries.start for entries in rejections)) < position:
            self._checkpoint = self._checkpoints.read_at(first)
            self._learner.restore(self._checkpoint.state)
            self._batch_log.close()
            self._batch_log = BatchLog(self._places.batch_log, first)
        return rejections[-1] if rejections else None

    def _set_aside(self, reason: str) -> None:
        for directory in (self._places.checkpoints, self._places.batch_log):
            if directory.is_dir():
                logger.warning("%s: learning anew, old state is in %s", reason, set_aside(directory))


def device_of(config: TrainerConfig) -> str:
    """Return the device that a configuration means on this machine.

    Raises:
        ConfigError: CUDA is asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.device is cuda, but torch {torch.__version__} sees no CUDA device here; take auto or cpu"
        )
    return "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"


def environment_of(learner: OnlineLearner) -> dict[str, str]:
    """Return what sums depend on, see `StartEntry`."""
    return {
        "num_threads": str(torch.get_num_threads()),
        "device": str(next(learner.model.parameters()).device.type),
        "torch": str(torch.__version__),
    }


def _machine_at(
    checkpoint: Checkpoint | None, learner: OnlineLearner, holds: Holds, gate: Gate, refused: RefusedBatches
) -> BatchMachine:
    if checkpoint is None:
        return BatchMachine(learner, holds, gate=gate, keep_refused=refused.keep)
    if checkpoint.gate:
        gate.restore(checkpoint.gate)
    holds.restore(checkpoint.holds)
    machine = BatchMachine(
        learner, holds, checkpoint.offsets, checkpoint.topic_ids, checkpoint.epoch, gate, refused.keep
    )
    machine.environment = dict(checkpoint.environment)
    machine.cuts = checkpoint.cuts
    machine.base = dict(checkpoint.base)
    machine.gaps.restore(checkpoint.gaps)
    machine.quarantine.restore(checkpoint.quarantine)
    return machine


def _is_stopped_within(pause_s: float, is_stopping: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + pause_s
    while time.monotonic() < until_s and not is_stopping():
        time.sleep(_STOP_LOOK_S)
    return is_stopping()


def _has_files(directory: Path) -> bool:
    """Say whether something was finished here; what a killed writer left begins with a dot."""
    return directory.is_dir() and any(not path.name.startswith(".") for path in directory.iterdir())
