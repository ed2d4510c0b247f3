"""Times the stages of a request: Prometheus histograms for ops, recent percentiles for `headrace status`.

A request costs one clock read and one search a stage; what Prometheus wants is made when it asks. CPU time is asked of
the kernel, which takes longer than some stages do: one request in eight pays for it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from features.metric_families import labelled
from serving.tracing import TRACE, RequestTrace

STAGES = (
    *("wait", "hydrate", "catalog", "filter", "candidates", "rank", "diversify", "explore", "answer", "log"),
    "total",
)
"""In the order of `serving/recommender.py`; `wait` is for a turn, `catalog` what lists of one moment share."""
_RANKING = ("filter", "candidates", "rank", "diversify", "explore")
_WINDOW = 4096
"""Newest durations per stage that percentiles look at."""
_CPU_EVERY = 8
"""Of so many requests one is measured by CPU."""
_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0)


class _Stage:
    """What is kept of one stage."""

    def __init__(self) -> None:
        self.recent_s: deque[float] = deque(maxlen=_WINDOW)
        self.buckets = [0] * (len(_BUCKETS_S) + 1)
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.cpu_passes = 0

    def add(self, wall_s: float) -> None:
        self.recent_s.append(wall_s)
        self.buckets[bisect_left(_BUCKETS_S, wall_s)] += 1
        self.wall_s += wall_s

    def add_cpu(self, cpu_s: float) -> None:
        self.cpu_s += cpu_s
        self.cpu_passes += 1


class StageClock:
    """Follows one request from stage to stage.

    Args:
        stages: where durations are kept.
        takes_cpu: whether CPU time is measured too.
    """

    __slots__ = ("_last_cpu_s", "_last_s", "_stages", "_took_s", "started_s")

    def __init__(self, stages: dict[str, _Stage], takes_cpu: bool) -> None:
        self._stages = stages
        self._took_s: dict[str, float] = {}
        self.started_s = self._last_s = time.perf_counter()
        self._last_cpu_s = time.thread_time() if takes_cpu else None

    def passed(self, stage: str) -> None:
        """Say that `stage` ended now and the next one begins.

        CPU time is that of the thread: where a stage waits, it holds what other requests did meanwhile.
        """
        now_s = time.perf_counter()
        took_s = self._took_s[stage] = now_s - self._last_s
        self._stages[stage].add(took_s)
        self._last_s = now_s
        if self._last_cpu_s is not None:
            cpu_s = time.thread_time()
            self._stages[stage].add_cpu(cpu_s - self._last_cpu_s)
            self._last_cpu_s = cpu_s

    @property
    def ranking_s(self) -> float:
        """What this list's own ranking took: no waiting, and nothing that lists of one moment share."""
        return sum(self._took_s.get(stage, 0.0) for stage in _RANKING)

    def done(self) -> None:
        """Say that the request is answered."""
        self._stages["total"].add(time.perf_counter() - self.started_s)


class _TracedClock(StageClock):
    """Tells a trace of every stage, too."""

    __slots__ = ("_trace",)

    def __init__(self, stages: dict[str, _Stage], takes_cpu: bool, trace: RequestTrace) -> None:
        super().__init__(stages, takes_cpu)
        self._trace = trace

    def passed(self, stage: str) -> None:
        """Say that `stage` ended now and the next one begins."""
        began_s = self._last_s
        super().passed(stage)
        self._trace.note_stage(stage, began_s, self._last_s)


class StageTimes(Collector):
    """Durations by stage, and counts of answers by degraded reason."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = 0
        self._started = 0
        self.degraded: dict[str, int] = {}
        self._stages = {stage: _Stage() for stage in STAGES}
        self.is_traced = False
        """Whether a request may have a trace."""
        self.registry.register(self)

    def start(self) -> StageClock:
        """Begin with the first stage of a request."""
        self._started += 1
        takes_cpu, trace = self._started % _CPU_EVERY == 1, TRACE.get() if self.is_traced else None
        return StageClock(self._stages, takes_cpu) if trace is None else _TracedClock(self._stages, takes_cpu, trace)

    def count_answer(self, degraded_reasons: tuple[str, ...]) -> None:
        """Count one answered request."""
        self.requests += 1
        for reason in degraded_reasons:
            self.degraded[reason] = self.degraded.get(reason, 0) + 1

    def percentiles_ms(self) -> dict[str, dict[str, float]]:
        """Return stage -> {p50, p99} over the newest requests; stages without any are left out."""
        return {
            name: dict(
                zip(("p50", "p99"), np.round(np.percentile(stage.recent_s, (50, 99)) * 1e3, 3).tolist(), strict=True)
            )
            for name, stage in self._stages.items()
            if stage.recent_s
        }

    def cpu_us(self) -> dict[str, float]:
        """Return stage -> mean CPU microseconds a pass since the start; exact where one request is in flight."""
        stages = {name: stage for name, stage in self._stages.items() if stage.cpu_passes}
        return {name: round(stage.cpu_s / stage.cpu_passes * 1e6, 1) for name, stage in stages.items()}

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        requests = CounterMetricFamily("headrace_serving_requests", "Requests answered.")
        requests.add_metric([], self.requests)
        histogram = HistogramMetricFamily(
            "headrace_serving_stage_seconds", "Time per stage of a request.", labels=["stage"]
        )
        cpu = CounterMetricFamily("headrace_serving_stage_cpu_seconds", "CPU time per stage.", labels=["stage"])
        bounds = [*map(str, _BUCKETS_S), "+Inf"]
        for name, stage in self._stages.items():
            counts = np.cumsum(stage.buckets).tolist()
            histogram.add_metric([name], list(zip(bounds, counts, strict=True)), stage.wall_s)
            cpu.add_metric([name], stage.cpu_s * _CPU_EVERY)
        degraded = labelled("headrace_serving_degraded_total", "Answers below full quality.", "reason", self.degraded)
        yield from (requests, degraded, histogram, cpu)
