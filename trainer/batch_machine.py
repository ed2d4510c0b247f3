"""The trainer as a state machine: what each entry of the batch log does to learner, holds and offsets.

Live learning and a replay after a restart both go through here, and nothing else changes the state. So a replayed log
ends bit for bit where the live run stood, on CPU with a fixed number of threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from features.quality.hold_table import CONTROL_TOPIC
from trainer.batch_records import (
    BaseEntry,
    BatchEntry,
    CutEntry,
    HoldsEntry,
    PurgeEntry,
    RejectEntry,
    ReleasedEntry,
    Run,
    StartEntry,
)
from trainer.config import GateConfig
from trainer.data_orders import PURGE, DataOrder, decode_data_order
from trainer.errors import CheckpointError, SampleError
from trainer.gaps import Gap, GapLedger
from trainer.gate import Gate
from trainer.gate_orders import decode_gate_order
from trainer.holds import Holds
from trainer.item_records import apply_item
from trainer.online_learner import OnlineLearner
from trainer.quarantine import Quarantine, Window
from trainer.read_ahead import decode_ahead
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, LogRecord
from trainer.samples import Sample
from trainer.snapshot import VersionLabel
from trainer.step_outcome import RefusedStep
from trainer.version_files import ModelVersion

_AHEAD_MS = 3_600_000
"""A broker time further ahead of Kafka's own time for the record is not taken for a clock."""

logger = logging.getLogger(__name__)


class BatchMachine:
    """OnlineLearner, holds and offsets, changed by entries only.

    Args:
        learner: already restored where there was a checkpoint.
        holds: likewise.
        offsets: `topic:partition` -> next offset.
        topic_ids: of the topics that the offsets belong to.
        epoch: of the newest start so far.
        gate: what versions are held by; one with default bounds where nobody asks it.
        keep_refused: told every step that was not taken, with the records of its batch.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        holds: Holds,
        offsets: dict[str, int] | None = None,
        topic_ids: dict[str, str] | None = None,
        epoch: int = 0,
        gate: Gate | None = None,
        keep_refused: Callable[[RefusedStep, Sequence[Run]], object] = lambda _refused, _runs: None,
    ) -> None:
        self._keep_refused = keep_refused
        self.learner = learner
        self.holds = holds
        self.gate = gate or Gate(GateConfig())
        self.offsets = dict(offsets or {})
        self.topic_ids = dict(topic_ids or {})
        self.epoch = epoch
        self.environment: dict[str, str] = {}
        self.gaps = GapLedger()
        self.cuts = 0
        """Versions cut so far."""
        self.quarantine = Quarantine()
        self.base: dict[str, Any] = {}
        """What was learnt from files before the topics, see `trainer.history`."""
        self._said: set[str] = set()
        self._oldest_event_ms = 0
        """Of what was learnt since the last cut; 0 where nothing was."""

    @property
    def needs_beginning(self) -> bool:
        """Whether a history was learnt and nobody has said yet where the topics go on from it."""
        return bool(self.base) and not any(name.startswith(SAMPLES_TOPIC) for name in self.offsets)

    def begin(self, entry: BaseEntry) -> None:
        """Stand where the topics go on from the history.

        Raises:
            CheckpointError: the entry belongs to another history, or to one that is not there.
        """
        if entry.digest != self.base.get("digest"):
            raise CheckpointError(
                f"the batch log begins on history {entry.digest}, the checkpoints on"
                f" {self.base.get('digest', 'none')}: they are not of one state; move both directories away, or put"
                " back the one that was changed"
            )
        self.offsets |= entry.offsets

    def note_start(self, entry: StartEntry) -> None:
        """A trainer began; where it computes otherwise than the one before, weights may differ in their last bits."""
        changed = {k: v for k, v in self.environment.items() if entry.environment.get(k) != v}
        if changed:
            logger.warning("environment changed from %s to %s: bits may differ from here", changed, entry.environment)
        self.environment = dict(entry.environment)
        self.topic_ids |= entry.topic_ids
        self.epoch = max(self.epoch, entry.epoch)

    def learn_batch(self, entry: BatchEntry, records: Sequence[LogRecord]) -> None:
        """Learn one micro-batch; items in it come into effect before its samples."""
        decoded = [(sample, record) for record in records if (sample := self._taken(record)) is not None]
        self.learner.learnt_once.keep_from(self.holds.oldest_deferred_ms())
        self.learner.learnt_once.advance(entry.clock_ms)
        if decoded:
            held = [self.holds.defer(sample.broker_time_ms or 0, record) for sample, record in decoded]
            self.learner.learn_batch([sample for sample, _ in decoded], held)
            self._note_event_times([sample for sample, _ in decoded])
            self._keep_refused_steps(entry.runs)
        for run in entry.runs:
            self.offsets[run.name] = run.end

    def learn_released(self, entry: ReleasedEntry, records: Sequence[LogRecord]) -> None:
        """Learn one micro-batch of a window that was let go."""
        wanted = [record for record in records if not self.holds.is_skipped(record)]
        samples = [sample for record in wanted if (sample := self._taken(record)) is not None]
        samples = [s for s in samples if self.holds.is_in_window(entry.window_start_ms, s.broker_time_ms or 0)]
        if samples:
            self.learner.learn_released(samples)
            self._note_event_times(samples)
            self._keep_refused_steps([entry.run])
        self.holds.forget_slice(entry)

    def follow_holds(self, entry: HoldsEntry) -> None:
        """Let profiles and orders take effect."""
        self.holds.apply(entry)
        for record in entry.records:
            if record.topic != CONTROL_TOPIC:
                continue
            raw, name = record.value.encode(), self.learner.app.name
            if (order := decode_gate_order(raw, name)) is not None:
                self.gate.follow_order(order)
            elif (data_order := decode_data_order(raw, name)) is not None:
                self._follow_data_order(data_order)

    def _follow_data_order(self, order: DataOrder) -> None:
        """Keep samples out from here on; what is learnt of a window waits for `follow_purge`."""
        if order.order == PURGE:
            window = Window(order.window_start_ms, order.window_end_ms)
            logger.warning("window %d to %d is purged by %s. %s", *window, order.role, order.reason)
            self.quarantine.add(window)
            if self.learner.progress.newest_broker_time_ms >= window.start_ms:
                self.quarantine.want(window)
            return
        self.quarantine.forget_user(order.user_id, order.time_ms)
        self.learner.forget_user(order.user_id)
        logger.warning("a user is forgotten by %s. %s", order.role, order.reason)

    def skip_batch(self, entry: BatchEntry, items: Sequence[LogRecord]) -> None:
        """Go on behind a micro-batch whose samples were rejected; what is known of items is no sample and stays."""
        for record in items:
            self._taken(record)
        for run in entry.runs:
            self.offsets[run.name] = run.end
            if run.name.startswith(SAMPLES_TOPIC):
                self.holds.skip(run)

    def skip_released(self, entry: ReleasedEntry) -> None:
        """Go on behind samples of a window that was let go; they were rejected."""
        self.holds.forget_slice(entry)

    def skip_cut(self) -> None:
        """Count a version that holds what was rejected."""
        self.cuts += 1

    def follow_reject(self, entry: RejectEntry) -> None:
        """Stand where a checkpoint stood, all entries since being skipped."""
        logger.warning(
            "version %s is rejected: what was learnt since entry %d is skipped", entry.version, entry.position
        )
        self.gate.follow_reject(self.cuts + 1)

    def follow_purge(self, entry: PurgeEntry) -> None:
        """Stand where a checkpoint stood, all entries since learnt again without the window."""
        window = Window(entry.start_ms, entry.end_ms)
        logger.warning("window %d to %d is taken back: learnt again since entry %d", *window, entry.position)
        self.quarantine.add(window)
        self.quarantine.wanted = [one for one in self.quarantine.wanted if one != window]
        self.gate.follow_reject(self.cuts + 1)

    def note_gap(self, gap: Gap) -> None:
        """Count what a topic lacked, and stand where reading goes on."""
        self.gaps.note(gap)
        if gap.resume >= 0:
            self.offsets[gap.name] = gap.resume
        if gap.topic_id:
            self.topic_ids[gap.name.rpartition(":")[0]] = gap.topic_id

    def note_cut(self, entry: CutEntry) -> VersionLabel:
        """Give announced items their rows, as every cut does; return what the version is called."""
        self.cuts += 1
        self.learner.retrieval.sync_rows()
        self.gate.follow_cut(self.learner, entry.version, entry.gate_reason, entry.time_ms, self.cuts)
        oldest_ms, self._oldest_event_ms = self._oldest_event_ms, 0
        return VersionLabel(
            name=self.learner.app.name,
            version=ModelVersion.parse(entry.version),
            parent_version=entry.parent_version,
            offsets={name: offset for name, offset in self.offsets.items() if name.startswith(SAMPLES_TOPIC)},
            created_time_ms=entry.time_ms,
            oldest_event_time_ms=oldest_ms,
        )

    def _note_event_times(self, samples: Sequence[Sample]) -> None:
        times = [sample.event_time_ms for sample in samples]
        self._oldest_event_ms = min([self._oldest_event_ms, *times]) if self._oldest_event_ms else min(times)

    def _keep_refused_steps(self, runs: Sequence[Run]) -> None:
        for refused in self.learner.take_refused_steps():
            self._keep_refused(refused, runs)

    def _taken(self, record: LogRecord) -> Sample | None:
        """Return a sample, None for an item (applied) and for what cannot be used (counted, said once a reason)."""
        try:
            if record.topic == ITEMS_TOPIC:
                apply_item(self.learner.builder, record.key, record.value)
                return None
            sample = _checked(decode_ahead(record))
            return None if self.quarantine.holds_back(sample) else sample
        except SampleError as error:
            self.learner.refuse(error.reason)
            if error.reason not in self._said:
                self._said.add(error.reason)
                logger.warning(
                    "%s@%d is passed over (%s: %s); further ones are only counted",
                    *(record.name, record.offset, error.reason, error),
                )
            return None


def _checked(record: LogRecord) -> Sample:
    """Return the sample of a decoded record.

    Raises:
        SampleError: there is none, or its time is none.
    """
    sample = record.decoded
    assert sample is not None
    if isinstance(sample, SampleError):
        raise sample
    if 0 < record.timestamp_ms < (sample.broker_time_ms or 0) - _AHEAD_MS:
        raise SampleError("bad_time", f"broker_time_ms {sample.broker_time_ms} of a record of {record.timestamp_ms}")
    return sample
