"""How long an event takes to be felt: until its feature row is readable, and until served weights have learnt it.

Both clocks start at the producer's acknowledgement. *Event → served* ends with the first reply whose model version
covers the event's sample: the version's announced `sample_offsets` are past the sample's place in the topic. Every
reply of the demo is an observation, so nearly all events are timed without asking anything extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class SamplePlace:
    """Where an event's sample stands."""

    partition: str
    """`topic:partition`, as in announcements."""
    offset: int


@dataclass(frozen=True, slots=True)
class _ServedVersion:
    version: str
    first_reply_s: float
    next_offsets: Mapping[str, int]

    def covers(self, place: SamplePlace) -> bool:
        return self.next_offsets.get(place.partition, 0) > place.offset


@dataclass(slots=True)
class _TrackedEvent:
    acked_s: float
    place: SamplePlace | None = None


class ServedFreshness:
    """Times tracked events from acknowledgement to the first reply that has learnt them.

    Acknowledgements, samples, announcements and replies come from different places and may arrive in any order.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[str, _TrackedEvent] = {}
        self._announced: dict[str, Mapping[str, int]] = {}
        self._first_reply_s: dict[str, float] = {}
        self._served: list[_ServedVersion] = []
        self._is_frozen = False
        self.last_reply_s = clock()
        self.latencies_ms: list[float] = []

    @property
    def versions(self) -> list[str]:
        """Versions seen in replies, in order of their first reply."""
        return list(self._first_reply_s)

    @property
    def num_open(self) -> int:
        """Tracked events that no reply has learnt yet."""
        return len(self._open)

    def freeze(self) -> None:
        """Stop tracking: from now on the server does not follow."""
        self._is_frozen = True
        self._open.clear()

    def track(self, event_id: str, acked_s: float) -> None:
        """Start the clock of an acknowledged event."""
        if not self._is_frozen:
            self._open[event_id] = _TrackedEvent(acked_s)

    def on_sample(self, event_id: str, place: SamplePlace) -> None:
        """Note where an event's sample stands; the first of several counts."""
        tracked = self._open.get(event_id)
        if tracked is None or tracked.place is not None:
            return
        tracked.place = place
        covering = next((served for served in self._served if served.covers(place)), None)
        if covering is not None:
            self._close(event_id, covering)

    def on_announcement(self, version: str, next_offsets: Mapping[str, int]) -> None:
        """Note what a version has learnt."""
        self._announced[version] = next_offsets
        self._match(version)

    def on_reply(self, version: str) -> None:
        """Note that a reply named this version."""
        self.last_reply_s = self._clock()
        if version and version not in self._first_reply_s:
            self._first_reply_s[version] = self.last_reply_s
            self._match(version)

    def _match(self, version: str) -> None:
        """Close what a version covers, once it is both announced and served."""
        if version not in self._announced or version not in self._first_reply_s:
            return
        served = _ServedVersion(version, self._first_reply_s[version], self._announced[version])
        self._served = [*self._served[-_KEPT_VERSIONS:], served]
        covered = [
            event_id for event_id, event in self._open.items() if event.place is not None and served.covers(event.place)
        ]
        for event_id in covered:
            self._close(event_id, served)

    def _close(self, event_id: str, served: _ServedVersion) -> None:
        acked_s = self._open.pop(event_id).acked_s
        self.latencies_ms.append(1000.0 * max(0.0, served.first_reply_s - acked_s))


_KEPT_VERSIONS = 32
"""Versions looked at for a sample that shows up after them: far more than the sample reader can lag."""


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return `p50` and `p99`, None of nothing."""
    if not values:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(np.asarray(values), [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
