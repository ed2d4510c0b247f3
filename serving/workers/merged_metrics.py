"""One scrape of all workers: every sample under the label of its worker.

Counters of different processes are not added up: the sum would fall when a worker is started again, and Prometheus
would take that for a reset of all. `sum without (worker) (rate(...))` adds them up rightly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from serving.workers.worker_process import WorkerProcess, WorkerState

logger = logging.getLogger(__name__)

PARENT = "parent"
_SCRAPE_S = 5.0

Scrape = Callable[[], Coroutine[Any, Any, Mapping[str, str]]]
"""-> what each worker that answers says, by the value of its label."""


class MergedMetrics(Collector):
    """What Prometheus gets; collected in a thread of the metrics port.

    Args:
        workers: all.
        scrape: asks them; runs on `loop`.
        own: of the parent itself.
        loop: the parent's.
    """

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        scrape: Scrape,
        own: CollectorRegistry,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._workers = workers
        self._scrape = scrape
        self._own = own
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        """Return the families of all, and the workers themselves."""
        try:
            told = dict(asyncio.run_coroutine_threadsafe(self._scrape(), self._loop).result(_SCRAPE_S))
        except (TimeoutError, RuntimeError) as error:  # Late, or the parent is stopping.
            logger.warning("no worker was scraped: %r", error)
            told = {}
        told[PARENT] = generate_latest(self._own).decode()
        yield from merged_families(told)
        yield from worker_families(self._workers)

    def describe(self) -> Iterator[Metric]:
        """Return nothing: names are known only when workers answer."""
        return iter(())


def worker_families(workers: Sequence[WorkerProcess]) -> Iterator[Metric]:
    """Yield what a parent tells of its workers."""
    states = GaugeMetricFamily("headrace_serving_workers", "Worker processes by state.", labels=["state"])
    for state in WorkerState:
        states.add_metric([state], sum(worker.state is state for worker in workers))
    restarts = CounterMetricFamily("headrace_serving_worker_restarts", "Workers started again.", labels=["worker"])
    for worker in workers:
        restarts.add_metric([str(worker.number)], worker.restarts)
    yield from (states, restarts)


def merged_families(texts: Mapping[str, str]) -> Iterator[Metric]:
    """Yield every family once, with the samples of all under the label `worker`.

    Args:
        texts: in Prometheus' text format, by the value of the label.
    """
    merged: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):
            into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    yield from merged.values()
