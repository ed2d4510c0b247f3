"""From an event to the first answer that has learnt it, stage by stage; noted as it comes in, worked out at the end."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

STAGES = ("event -> sample", "sample -> delta", "delta -> served", "event -> served weights")


class SampleAt(NamedTuple):
    """Where an event's sample stands, and when it was there."""

    partition: str
    offset: int
    seen_s: float


class Published(NamedTuple):
    """A version, and when all could read it."""

    next_offsets: Mapping[str, int]
    seen_s: float


@dataclass
class LoopTimes:
    """The books of one run: seconds of one clock that only goes forward; may be filled from several threads.

    Acknowledgements, samples, deltas and answers may come in any order. Versions count up, so one that is published
    or served later has learnt no less.
    """

    acked_s: dict[str, float] = field(default_factory=dict)
    """Event id -> acknowledgement by the broker."""
    samples: dict[str, SampleAt] = field(default_factory=dict)
    """Event id -> its first sample."""
    published: dict[str, Published] = field(default_factory=dict)
    """Version -> its delta."""
    served_s: dict[str, float] = field(default_factory=dict)
    """Version -> the first answer that named it."""

    def stages_ms(self) -> dict[str, list[float]]:
        """Return stage -> milliseconds of each event that was served; negative where a later note came first."""
        found: dict[str, list[float]] = {stage: [] for stage in STAGES}
        published = sorted(self.published.values(), key=lambda version: version.seen_s)
        answered = [
            (self.published[version].next_offsets, seen_s)
            for version, seen_s in sorted(self.served_s.items(), key=lambda pair: pair[1])
            if version in self.published
        ]
        for event_id, sample in self.samples.items():
            acked_s = self.acked_s.get(event_id)
            ready = bisect.bisect_left(published, True, key=lambda version: _covers(version.next_offsets, sample))
            shown = bisect.bisect_left(answered, True, key=lambda pair: _covers(pair[0], sample))
            if acked_s is None or ready == len(published) or shown == len(answered):
                continue
            moments = (acked_s, sample.seen_s, published[ready].seen_s, answered[shown][1])
            for stage, began_s, ended_s in zip(STAGES, moments, moments[1:], strict=False):
                found[stage].append(1000.0 * (ended_s - began_s))
            found[STAGES[-1]].append(1000.0 * (moments[-1] - moments[0]))
        return found


def _covers(next_offsets: Mapping[str, int], sample: SampleAt) -> bool:
    return next_offsets.get(sample.partition, 0) > sample.offset
