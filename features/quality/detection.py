"""Is a window suspicious? Robust statistics over reference windows, and the rules' thresholds. Pure, vectorised.

A share k/n is judged as y = 2 asin(sqrt(k/n)), whose variance is 1/n whatever the share:

    expected   median over blocks of reference windows of each block's pooled share: robust, and exact for sparse ones
    z          (y - y_expected) / sqrt(1/n + t^2),  t^2 = max(0, (1.4826 MAD of the windows' y)^2 - median 1/n)

A distance or a rate is judged as (x - median) / (1.4826 MAD), the spread never below a floor. A window is suspicious
when one rule is met against every reference that has enough windows. Letters: `M` metrics, `R` reference windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.quality.config import QualityConfig
from features.quality.history import Reference
from features.quality.metrics import Metric, MetricTable, stabilised
from features.quality.profile import CLEAN, HELD, UNJUDGED, VALUE_BINS, Profile, Reason

_BLOCKS = 8
_MAD = 1.4826
_DISTANCE_SPREAD, _RATE_SPREAD = 0.01, 0.15
"""Least spread of a distance in bits and of a rate in doublings: below that no change is worth a word."""

_TOP_COUNT_RATIO = 1.5
"""Who is at the top must also have more events than is usual there: in an outage whoever is left has a large share."""

_OWN_PART = 0.5
"""How far off a window must be itself, of how far it is with those before it."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class _Comparison:
    """A row against one reference, all (M,)."""

    expected: Numbers
    z: Numbers
    change: Numbers
    ratio: Numbers
    is_comparable: NDArray[np.bool_]
    usual_counts: Numbers
    """Of the metrics `MetricTable.top_columns`: the usual numerator, (3,)."""


class Detector:
    """The rules over the metrics of one app.

    Args:
        config: thresholds.
        table: layout of the metrics.
        actions: declared actions.
    """

    def __init__(self, config: QualityConfig, table: MetricTable, actions: Sequence[str]) -> None:
        rules = [config.rule(metric.rule) for metric in table.metrics]
        self._config = config
        self._table = table
        self._actions = tuple(actions)
        self._columns = {metric.name: column for column, metric in enumerate(table.metrics)}
        self._is_enabled = np.array([rule.is_enabled for rule in rules])
        self._z = np.array([rule.z for rule in rules])
        self._min_change = np.array([rule.min_change for rule in rules])
        self._min_ratio = np.array([rule.min_ratio for rule in rules])

    def judge(self, profile: Profile, references: Sequence[Reference]) -> Profile:
        """Return the profile with distances, state and reasons; the first reference must have enough windows."""
        references = [r for r in references if len(r) >= self._config.min_reference_windows]
        profile = msgspec.structs.replace(profile, distances=self._distances(profile, references))
        if not references or profile.records < self._config.min_events:
            return msgspec.structs.replace(profile, state=UNJUDGED, reasons=[])
        values, weights = self._table.row(profile)
        first = self._compare(values, weights, profile, references[0])
        is_met = self._is_enabled & self._meets(values, weights, first)
        for reference in references[1:]:
            if is_met.any():
                is_met &= self._meets(values, weights, self._compare(values, weights, profile, reference))
        reasons = [
            _reason(self._table.metrics[column], values, weights, first, column) for column in np.flatnonzero(is_met)
        ]
        return msgspec.structs.replace(profile, state=HELD if reasons else CLEAN, reasons=reasons)

    def shares(self, profile: Profile, reason: Reason) -> bool:
        """Say whether a window has its share in what is wrong with it and those before it together.

        It has where it is off the same way itself, half as far or more, or has nothing to tell: a window behind an
        incident must not be held for it.
        """
        column = self._columns[reason.metric]
        values, weights = self._table.row(profile)
        if weights[column] == 0:
            return True
        own = values[column] / weights[column] if self._table.is_share[column] else values[column]
        own = 2.0**own if self._table.is_rate[column] else own
        return bool((own - reason.expected) / (reason.observed - reason.expected) >= _OWN_PART)

    def _compare(self, values: Numbers, weights: Numbers, profile: Profile, reference: Reference) -> _Comparison:
        is_share = self._table.is_share
        size = np.maximum(weights, 1)
        counts = (reference.weights > 0).sum(axis=0)
        spread = _MAD * column_medians(np.abs(reference.figures - column_medians(reference.figures)))
        pooled = _pooled_shares(reference)
        expected = np.where(is_share, pooled, column_medians(reference.figures))
        expected[np.isnan(expected) | (counts == 0)] = 0.0
        spread[np.isnan(spread)] = 0.0
        noise = counts / np.maximum(reference.weights.sum(axis=0), 1)  # 1 / n of a reference window, about.
        own = np.where(is_share, np.clip(values / size, 0, 1), values)
        scale = np.where(
            is_share,
            np.sqrt(1 / size + np.maximum(0.0, spread**2 - noise)),
            np.maximum(spread, np.where(self._table.is_rate, _RATE_SPREAD, _DISTANCE_SPREAD)),
        )
        change = own - expected
        distance = np.where(is_share, stabilised(own) - stabilised(expected), change)
        odds = (own + 1e-3) * (1.001 - expected) / ((1.001 - np.minimum(own, 1)) * (expected + 1e-3))
        ratio = np.where(is_share, odds, 2.0 ** np.clip(change, -60, 60))
        is_comparable = counts >= self._config.min_reference_windows
        for column, memory in self._table.memory_columns.items():
            # A memory that is shorter than it was finds everything new.
            is_comparable[column] &= 2 * profile.memory_s.get(memory, 0) >= reference.memory_s[memory]
        usual_counts = np.median(reference.values[:, self._table.top_columns], axis=0)
        return _Comparison(expected, distance / scale, change, ratio, is_comparable, usual_counts)

    def _meets(self, values: Numbers, weights: Numbers, compared: _Comparison) -> NDArray[np.bool_]:
        """Say of each metric whether its rule is met."""
        sign = np.where(self._table.is_both, np.sign(compared.change), 1.0)
        ratio = np.where(sign < 0, 1.0 / np.maximum(compared.ratio, 1e-300), compared.ratio)
        # A rate has no smallest change, a distance no smallest ratio: their thresholds are 0 and 1 as shipped.
        is_off = np.abs(compared.change) * weights >= self._config.min_excess
        met: NDArray[np.bool_] = (
            compared.is_comparable
            & (weights >= self._config.min_events)
            & (is_off | ~self._table.is_share)
            & (sign * compared.z >= self._z)
            & (sign * compared.change >= self._min_change)
            & ((ratio >= self._min_ratio) | (self._min_ratio <= 1.0))
        )
        top = self._table.top_columns
        met[top] &= values[top] >= _TOP_COUNT_RATIO * compared.usual_counts
        return met

    def _distances(self, profile: Profile, references: Sequence[Reference]) -> dict[str, float]:
        """Return the divergences, of each the smallest over the references."""
        own_actions = np.array([profile.actions.get(action, 0) for action in self._actions], dtype=np.float64)
        own_items = np.array(profile.item_buckets, dtype=np.float64)
        found = {}
        for name, own, others in (
            ("action_mix", own_actions, [r.actions for r in references]),
            ("item_distance", own_items, [r.item_buckets for r in references]),
        ):
            found[name] = _smallest_divergence(own, others)
        for action, values in profile.values.items():
            own = np.zeros(VALUE_BINS)
            own[list(values.bins)] = list(values.bins.values())
            others = [reference.value_bins(action) for reference in references]
            found[f"value_distance:{action}"] = _smallest_divergence(own, others)
        return found


def divergence_bits(own: Numbers, other: Numbers) -> float:
    """Return the Jensen-Shannon divergence of two histograms in bits, less what sampling alone gives on average.

    Of n draws from the reference itself the divergence is near (bins - 1) / (8 n) nats; 0 where either is empty.
    """
    size, total = own.sum(), other.sum()
    if size <= 0 or total <= 0:
        return 0.0
    p, q = own / size, other / total
    middle = (p + q) / 2
    nats = (_entropy_terms(p, middle) + _entropy_terms(q, middle)) / 2
    bias = (np.count_nonzero(own + other) - 1) / 8 * (1 / size + 1 / total)
    return round(max(0.0, float(nats - bias)) / float(np.log(2)), 6)


def _entropy_terms(p: Numbers, middle: Numbers) -> float:
    there = p > 0
    return float((p[there] * np.log(p[there] / middle[there])).sum())


def _smallest_divergence(own: Numbers, others: Sequence[Numbers]) -> float:
    return min((divergence_bits(own, other) for other in others if other.sum() > 0), default=0.0)


def _pooled_shares(reference: Reference) -> Numbers:
    """Return the median over blocks of windows of each block's pooled share, (M,)."""
    edges = np.arange(_BLOCKS) * len(reference) // _BLOCKS
    weights = np.add.reduceat(reference.weights, edges, axis=0)  # (8, M)
    values = np.add.reduceat(reference.values, edges, axis=0)
    return column_medians(np.where(weights > 0, values / np.maximum(weights, 1), np.nan))


def column_medians(rows: Numbers) -> Numbers:
    """Return the median of each column of (R, M), NaN left out; NaN where nothing is left. Faster than nanmedian."""
    ordered = np.sort(rows, axis=0)  # NaN goes last.
    counts = (~np.isnan(rows)).sum(axis=0)
    columns = np.arange(rows.shape[1])
    low, high = np.maximum(counts - 1, 0) // 2, np.minimum(counts // 2, len(rows) - 1)
    medians: Numbers = np.where(counts > 0, (ordered[low, columns] + ordered[high, columns]) / 2, np.nan)
    return medians


def _reason(metric: Metric, values: Numbers, weights: Numbers, compared: _Comparison, column: int) -> Reason:
    expected, z = float(compared.expected[column]), round(float(compared.z[column]), 1)
    if metric.kind == "share":
        observed = float(values[column] / max(weights[column], 1))
        text = f"{metric.name} is {observed:.1%}, usually {expected:.1%} (z {z:+.0f})"
    elif metric.kind == "rate":
        observed, expected = float(2.0 ** values[column]), float(2.0**expected)
        text = f"{metric.name} is {observed:,.1f} records/s, usually {expected:,.1f} (z {z:+.0f})"
    else:
        observed = float(values[column])
        text = f"{metric.name} is {observed:.2f} bits, usually {expected:.2f} (z {z:+.0f})"
    return Reason(metric.rule, metric.name, round(observed, 6), round(expected, 6), z, text)
