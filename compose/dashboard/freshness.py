"""How long an event takes: until it is a feature, a sample, part of published weights, and part of served ones.

Every stage is timed from the broker's time of the event, on samples as they come. A sample carries that time; a version
says by `sample_offsets` what it has learnt; the server says when a version went live. Of versions that come twice a
second the server's status names about every second one: only events that such a version was the first to learn are
timed to their end, so that the rest is not taken for slower than it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

STAGES = ("feature", "sample", "weights", "served")
WINDOW_MS = 60_000
"""Percentiles are over this much of the past."""
_MOST = 5000
_VERSIONS = 64


class RecentTimes:
    """Durations of the last minute."""

    def __init__(self) -> None:
        self._measured: deque[tuple[int, float]] = deque(maxlen=_MOST)

    def add(self, now_ms: int, duration_ms: float) -> None:
        """Keep one; a clock that ran ahead makes none negative."""
        self._measured.append((now_ms, max(0.0, duration_ms)))

    def percentiles(self, now_ms: int) -> dict[str, float]:
        """Return `p50`, `p99` (ms) and `count`; empty where nothing was measured of late."""
        while self._measured and self._measured[0][0] < now_ms - WINDOW_MS:
            self._measured.popleft()
        if not self._measured:
            return {}
        p50, p99 = np.percentile([duration_ms for _, duration_ms in self._measured], (50, 99))
        return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "count": float(len(self._measured))}


@dataclass
class _Version:
    version: str
    created_ms: int
    offsets: Mapping[str, int]
    events_ms: list[int] = field(default_factory=list)
    """Broker times of events that it was the first to learn."""

    def covers(self, partition: str, offset: int) -> bool:
        return self.offsets.get(partition, 0) > offset


class Freshness:
    """Times samples through versions to the server, whatever is seen first."""

    def __init__(self) -> None:
        self._times = {stage: RecentTimes() for stage in STAGES[1:]}
        self._versions: deque[_Version] = deque(maxlen=_VERSIONS)
        self._waiting: deque[tuple[str, int, int]] = deque(maxlen=_MOST)
        """(partition, offset, broker time of the event) that no version has learnt yet."""
        self._loaded_ms: dict[str, int] = {}

    def on_sample(self, partition: str, offset: int, written_ms: int, event_ms: int) -> None:
        """Note a sample that stands at an offset of `topic:partition`."""
        if event_ms <= 0:
            return
        self._times["sample"].add(written_ms, written_ms - event_ms)
        for place, one in enumerate(self._versions):
            if one.covers(partition, offset):
                if place > 0:  # Of the oldest nobody knows whether it was the first.
                    self._learnt(one, event_ms)
                return
        self._waiting.append((partition, offset, event_ms))

    def on_version(self, version: str, created_ms: int, offsets: Mapping[str, int]) -> None:
        """Note a version, and what it was the first to learn."""
        if any(one.version == version for one in self._versions):
            return
        one = _Version(version, created_ms, dict(offsets))
        self._versions.append(one)
        waiting, self._waiting = self._waiting, deque(maxlen=_MOST)
        for partition, offset, event_ms in waiting:
            if one.covers(partition, offset):
                self._learnt(one, event_ms)
            else:
                self._waiting.append((partition, offset, event_ms))

    def on_live(self, version: str, loaded_ms: int) -> None:
        """Note since when a version serves."""
        if not version or version in self._loaded_ms:
            return
        self._loaded_ms[version] = loaded_ms
        while len(self._loaded_ms) > _VERSIONS:
            del self._loaded_ms[next(iter(self._loaded_ms))]
        for one in self._versions:
            if one.version == version:
                for event_ms in one.events_ms:
                    self._times["served"].add(loaded_ms, loaded_ms - event_ms)

    def stages(self, now_ms: int) -> dict[str, dict[str, float]]:
        """Return `sample`, `weights` and `served` with p50, p99 (ms) and count of the last minute."""
        return {stage: times.percentiles(now_ms) for stage, times in self._times.items()}

    def _learnt(self, one: _Version, event_ms: int) -> None:
        self._times["weights"].add(one.created_ms, one.created_ms - event_ms)
        one.events_ms.append(event_ms)
        loaded_ms = self._loaded_ms.get(one.version)
        if loaded_ms is not None:
            self._times["served"].add(loaded_ms, loaded_ms - event_ms)
