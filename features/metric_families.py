"""Metric families from plain values: the name says the kind."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_COUNTER = "_total"


def family(name: str, text: str, value: float) -> Metric:
    """Return a family of one value; `_total` makes it a counter."""
    if name.endswith(_COUNTER):
        return CounterMetricFamily(name.removesuffix(_COUNTER), text, value=value)
    return GaugeMetricFamily(name, text, value=value)


def labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a family with a value for each value of its label; there may be none yet."""
    kind = CounterMetricFamily if name.endswith(_COUNTER) else GaugeMetricFamily
    metric = kind(name.removesuffix(_COUNTER), text, labels=[label])
    for of_label, value in values.items():
        metric.add_metric([of_label], value)
    return metric
