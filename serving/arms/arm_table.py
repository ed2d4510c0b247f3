"""Which arm answers which user now: those of the running experiment, changed by one assignment, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.arms.arm import Arm
from serving.arms.assignment import Assignment


@dataclass(frozen=True)
class RunningExperiment:
    """What runs."""

    name: str
    arms: Mapping[str, Arm]
    assignment: Assignment


class ArmTable(Collector):
    """Tells the arm of every user. At most one experiment runs: two would confound each other.

    Args:
        default: what answers users outside any experiment.
    """

    def __init__(self, default: Arm) -> None:
        self.default = default
        self._running: RunningExperiment | None = None
        self._ended: dict[tuple[str, str], int] = {}
        """Lists of arms that run no more: counters must not fall."""

    @property
    def running(self) -> RunningExperiment | None:
        """The experiment that runs; None for none."""
        return self._running

    def arm_of(self, user_id: str) -> Arm:
        """Return the arm that answers a user."""
        running = self._running
        if running is None:
            return self.default
        return running.arms.get(running.assignment.arm_of(user_id), self.default)

    def run(self, name: str, arms: Mapping[str, Arm], shares: Mapping[str, float]) -> None:
        """Let an experiment begin; the one before it ends."""
        self.end()
        self._running = RunningExperiment(name, arms, Assignment(name, shares))

    def end(self) -> None:
        """Let nobody be in an experiment."""
        if self._running is not None:
            for arm in self._running.arms.values():
                self._ended[arm.key] = self._ended.get(arm.key, 0) + arm.lists
        self._running = None

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        lists = CounterMetricFamily("headrace_serving_arm_lists", "Lists by arm.", labels=["experiment", "arm"])
        counts = dict(self._ended)
        running = self._running
        for arm in () if running is None else running.arms.values():
            counts[arm.key] = counts.get(arm.key, 0) + arm.lists
        for key, count in counts.items():
            lists.add_metric(list(key), count)
        is_running = GaugeMetricFamily("headrace_serving_experiment_running", "1 while it runs.", labels=["experiment"])
        if running is not None:
            is_running.add_metric([running.name], 1)
        yield from (lists, is_running)
