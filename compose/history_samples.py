"""Files of events as the samples that a backfill of them would have made, in time order, never whole in memory."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import msgspec
import numpy as np

from features.config import AppConfig
from headrace_client import Event
from trainer.samples import Sample, SampleItem, decode_sample


@dataclass(frozen=True)
class SampleMaker:
    """Makes organic samples of events, as the sample job does with what comes through the backfill topic.

    Args:
        app: its actions say what an event's outcome is.
        broker_time_ms: when the history is learnt; an event further ahead of it than clocks differ is clamped.
    """

    app: AppConfig
    broker_time_ms: int

    def sample_of(self, event: Event) -> tuple[int, bytes]:
        """Return the time of the event, and its sample as it would travel.

        Raises:
            SampleError: the trainer would refuse it.
        """
        latest_ms = self.broker_time_ms + round(1000 * self.app.features.clock_skew_s)
        sample = Sample(
            sample_id=event.event_id,
            kind="organic",
            user_id=event.user_id,
            items=[SampleItem(event.item_id)],
            event_time_ms=min(event.event_time_ms, latest_ms),
            event_id=event.event_id,
            action=event.action,
            value=event.value,
            outcome=self.app.actions[event.action].outcome_of(event.value),
            broker_time_ms=self.broker_time_ms,
        )
        raw = msgspec.json.encode(sample)
        decode_sample(raw)
        return sample.event_time_ms, raw


class SampleSpill:
    """Samples in a file, read back in time order; 20 bytes of memory for each.

    Args:
        file: empty, open for reading and writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._times_ms, self._ends = array("q"), array("q", [0])

    def __len__(self) -> int:
        return len(self._times_ms)

    @property
    def times_ms(self) -> tuple[int, int]:
        """The first and the newest time."""
        return min(self._times_ms), max(self._times_ms)

    def add(self, time_ms: int, raw: bytes) -> None:
        """Keep one sample.

        Raises:
            OSError: the disk is full.
        """
        self._file.write(raw)
        self._times_ms.append(time_ms)
        self._ends.append(self._ends[-1] + len(raw))

    def in_time_order(self) -> Iterator[Sample]:
        """Yield all samples; those of one millisecond in the order in which they were added."""
        self._file.flush()
        order = np.argsort(np.frombuffer(self._times_ms, dtype=np.int64), kind="stable")
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for place in order:
                yield decode_sample(content[self._ends[place] : self._ends[place + 1]])
