"""Warm start: past events learnt in time order by the live learner, as the checkpoint on which live learning begins.

Its offsets are not known yet, only a moment: the first start asks the topics what they hold from there on, and the
batch log's first entry says what it was told (`BaseEntry`). Samples before that moment lie in the history; an event
that comes again behind it, late or through a backfill, has its id in `LearntOnce` already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch

from features.blas_threads import limit_blas_threads
from features.config import AppConfig
from features.label_config import Labels
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import TrainerConfig, config_hash
from trainer.durable_files import set_aside
from trainer.errors import SampleError
from trainer.history_batches import batch_samples
from trainer.item_records import ItemRecord, apply_item
from trainer.online_learner import OnlineLearner
from trainer.samples import Sample
from trainer.startup import Places, device_of, environment_of
from trainer.warm_up import warm_up_trainer


class HistoryFile(msgspec.Struct, frozen=True):
    """One file that was learnt."""

    name: str
    content: str
    """Names its bytes and the mapping under which they were read."""
    events: int


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt before the topics."""

    files: list[HistoryFile]
    items: str = ""
    """Digest of the item records, empty where there were none."""
    config_hash: str
    first_time_ms: int
    newest_time_ms: int
    trained_time_ms: int
    """The clock when it was learnt: the broker time of its samples."""
    live_from_ms: int
    """Of the topics, what the broker took at or after this is learnt."""

    @property
    def digest(self) -> str:
        """Name it: 16 hex digits."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    def saved(self) -> dict[str, Any]:
        """Return it for checkpoint and status."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content | {"digest": self.digest}


class HistoryItems:
    """Item records, each in effect from its publication on, or just before the first event of its item.

    Args:
        records: item id -> JSON as on `headrace.items.v1`.
    """

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self._left = dict(records)
        decoded = (msgspec.json.decode(raw, type=ItemRecord) for raw in records.values())
        published = [(record.published_time_ms, record.item_id) for record in decoded if record.published_time_ms]
        self._published = sorted(published, reverse=True)

    @property
    def left(self) -> int:
        """Items that no event and no publication brought into effect."""
        return len(self._left)

    def take(self, samples: Iterable[Sample]) -> Iterator[tuple[str, bytes]]:
        """Yield the ids and records that come into effect with these samples."""
        for sample in samples:
            while self._published and self._published[-1][0] <= sample.event_time_ms:
                yield from self._taken(self._published.pop()[1])
            for item in sample.items:
                yield from self._taken(item.item_id)

    def _taken(self, item_id: str) -> Iterator[tuple[str, bytes]]:
        record = self._left.pop(item_id, None)
        if record is not None:
            yield item_id, record


def new_learner(app: AppConfig, config: TrainerConfig, labels: Labels) -> OnlineLearner:
    """Return the learner of the live trainer, which knows nothing yet, in a process that computes as that one does."""
    torch.set_num_threads(config.num_threads)
    limit_blas_threads(config.num_threads)
    warm_up_trainer()
    device = device_of(config)
    return OnlineLearner(app, config.learner, device, labels=labels, slices=config.slices, gate=config.gate)


def learn_history(
    learner: OnlineLearner, samples: Iterable[Sample], items: HistoryItems, on_progress: Callable[[int], object]
) -> None:
    """Learn samples that come in the order of their event times; told how many are done after every micro-batch.

    Lists are made of items that had an event: records come into effect just before their items' first events, and an
    item that is new on a list would tell what is about to be chosen.
    """
    done = 0
    stream = iter(samples)
    learner.builder.only_seen = True
    while batch := list(islice(stream, batch_samples(done))):
        for item_id, record in items.take(batch):
            try:
                apply_item(learner.builder, item_id.encode(), record)
            except SampleError as error:
                learner.refuse(error.reason)
        learner.learn_batch(batch)
        done += len(batch)
        on_progress(done)
    learner.builder.only_seen = False
    learner.drift.acknowledge()


def write_base(places: Places, learner: OnlineLearner, base: Base, keep: int) -> Path:
    """Make what was learnt the state from which the next trainer starts, by one rename; return the checkpoint.

    What was learnt there before is set aside: first its batch log, then its checkpoints, so that a kill at any moment
    leaves a start of the old state or of the new one (of the old one's records, those behind its newest checkpoint are
    then learnt in other batches).

    Raises:
        OSError: the disk refuses; the old state stays.
        CheckpointError: what was written does not verify.
    """
    aside = set_aside(places.batch_log) if places.batch_log.is_dir() else None
    try:
        return CheckpointStore(places.checkpoints, keep).write_first(_checkpoint_of(learner, base))
    except BaseException:
        if aside is not None:
            aside.rename(places.batch_log)
        raise


def _checkpoint_of(learner: OnlineLearner, base: Base) -> Checkpoint:
    return Checkpoint(
        state=learner.state(),
        offsets={},
        config_hash=config_hash(learner.app, learner.config, learner.labels),
        last_version="",
        environment=environment_of(learner),
        base=base.saved(),
    )
