"""docs/metrics.md as data, and what the parts really tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `(headrace_[a-z_]+)` \| (counter|gauge|histogram) \| (.*?) \| (.*) \|$", re.MULTILINE)


class Told(NamedTuple):
    """One family."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def listed() -> list[Told]:
    """Return the families of the page, in its order."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return [Told(name, kind, tuple(re.findall(r"`([a-z]+)`", labels)), text) for name, kind, labels, text in rows]


def told_by(collectors: Iterable[Collector | CollectorRegistry]) -> list[Told]:
    """Return the families that collectors tell, by name."""
    return sorted(_told(metric) for collector in collectors for metric in collector.collect())


def series_of(told: Iterable[Told]) -> set[str]:
    """Return the names that queries may use: those of a histogram are three."""
    parts = {"histogram": ("_bucket", "_count", "_sum")}
    return {one.name + suffix for one in told for suffix in parts.get(one.kind, ("",))}


def _told(metric: Metric) -> Told:
    given: Any = getattr(metric, "_labelnames", None)  # Not of families that the library itself makes.
    labels = given if given is not None else {name for sample in metric.samples for name in sample.labels}
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    return Told(name, metric.type, tuple(sorted(set(labels) - {"le"})), metric.documentation)
