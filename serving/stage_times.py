"""Times the stages of a request: Prometheus histograms for ops, recent percentiles for `headrace status`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram

STAGES = ("hydrate", "candidates", "rank", "total")
_WINDOW = 4096
"""Newest durations per stage that percentiles look at."""
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0)


class StageTimes:
    """Durations by stage, and counts of answers by degraded reason."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = 0
        self.degraded: dict[str, int] = {}
        self._recent_ms = {stage: deque[float](maxlen=_WINDOW) for stage in STAGES}
        self._histogram = Histogram(
            "headrace_stage_seconds",
            "Time per stage of a request.",
            ["stage"],
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self._by_stage = {stage: self._histogram.labels(stage) for stage in STAGES}
        self._requests = Counter("headrace_requests", "Requests answered.", registry=self.registry)
        self._degraded = Counter("headrace_degraded", "Answers below full quality.", ["reason"], registry=self.registry)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as one pass of stage `name`."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            elapsed_s = time.perf_counter() - started_s
            self._recent_ms[name].append(elapsed_s * 1000.0)
            self._by_stage[name].observe(elapsed_s)

    def count_answer(self, degraded_reasons: tuple[str, ...]) -> None:
        """Count one answered request."""
        self.requests += 1
        self._requests.inc()
        for reason in degraded_reasons:
            self.degraded[reason] = self.degraded.get(reason, 0) + 1
            self._degraded.labels(reason).inc()

    def percentiles_ms(self) -> dict[str, dict[str, float]]:
        """Return stage -> {p50, p99} over the newest requests; stages without any are left out."""
        return {
            stage: dict(zip(("p50", "p99"), np.round(np.percentile(list(recent), (50, 99)), 3).tolist(), strict=True))
            for stage, recent in self._recent_ms.items()
            if recent
        }
