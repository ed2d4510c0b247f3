"""From the raw numbers of declared features to what a model sees, as of any moment, all rows at once.

The one place where they are decayed, divided and logged; server, trainer and `evaluate` call it.
Letters: `N` rows, `W` raw numbers of a row, `S` spans of a feature, `K` sums of a span, `V` values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from features.config import EPOCH_HALF_LIVES
from features.declared_features import DeclaredFeature, input_names

_MAX_EXPONENT = 500.0
"""A clock far behind a landmark must not overflow; 2^500 is "now or later" for every use."""
_HOUR_MS = 3.6e6


def value_names(declared: Mapping[str, DeclaredFeature]) -> tuple[str, ...]:
    """Return the names of the values in order."""
    return tuple(input_name for one in declared.items() for input_name in input_names(*one))


def declared_values(
    declared: Mapping[str, DeclaredFeature], raw: NDArray[np.float64], now_ms: float
) -> NDArray[np.float64]:
    """Return the model inputs of features, (N, W) -> (N, V); zeros in `raw` mean "no event yet"."""
    columns, start = [np.zeros((len(raw), 0))], 0
    for feature in declared.values():
        columns.append(_values(feature, raw[:, start : start + feature.width], now_ms))
        start += feature.width
    return np.concatenate(columns, axis=1)


def current_sums(feature: DeclaredFeature, raw: NDArray[np.float64], now_ms: float) -> NDArray[np.float64]:
    """Return the sums of a summing feature as of `now_ms`, (N, width) -> (N, max(S, 1), K)."""
    if not feature.num_spans:
        return raw[:, None, :]
    spans = raw.reshape(len(raw), feature.num_spans, 1 + 2 * feature.num_sums)
    epochs = spans[..., 0]
    this, before = spans[..., 1 : 1 + feature.num_sums], spans[..., 1 + feature.num_sums :]
    weigh = _window_weights if feature.window_s is not None else _decay_weights
    of_this, of_before = weigh(feature, epochs, now_ms)
    return np.asarray(of_this[..., None] * this + of_before[..., None] * before)


def _values(feature: DeclaredFeature, raw: NDArray[np.float64], now_ms: float) -> NDArray[np.float64]:
    """Return one feature's columns, (N, width) -> (N, V)."""
    if feature.aggregation == "time_since_last":
        hours = np.maximum(now_ms - raw, 0.0) / _HOUR_MS
        return np.asarray(np.where(raw > 0, np.log1p(hours), 0.0))
    if feature.aggregation in ("max", "last"):
        return np.asarray(np.where(raw[:, :1] > 0, np.arcsinh(raw[:, 1:] / feature.scale), 0.0))
    if feature.aggregation == "distinct":
        return np.asarray(np.log1p(raw / feature.scale))
    sums = current_sums(feature, raw, now_ms)
    if feature.aggregation == "count":
        return np.asarray(np.log1p(np.maximum(sums[..., 0], 0.0) / feature.scale))
    if feature.aggregation == "sum":
        return np.asarray(np.arcsinh(sums[..., 0] / feature.scale))
    total, events = sums[..., 0], np.maximum(sums[..., 1], 0.0)
    if feature.aggregation == "mean":
        return np.asarray(np.arcsinh(total / (events + feature.prior_strength) / feature.scale))
    share = (np.maximum(total, 0.0) + feature.prior_strength * feature.prior) / (events + feature.prior_strength)
    return np.asarray(np.log(share / feature.prior))


def _decay_weights(
    feature: DeclaredFeature, epochs: NDArray[np.float64], now_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    half_lives_ms = np.array(feature.half_lives_s) * 1000.0
    exponents = (epochs * np.round(EPOCH_HALF_LIVES * half_lives_ms) - now_ms) / half_lives_ms
    return (
        np.exp2(np.minimum(exponents, _MAX_EXPONENT)),
        np.exp2(np.minimum(exponents - EPOCH_HALF_LIVES, _MAX_EXPONENT)),
    )


def _window_weights(
    feature: DeclaredFeature, epochs: NDArray[np.float64], now_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weigh two aligned windows by how much of each a window ending now covers; the older one in proportion."""
    assert feature.window_s is not None
    age = np.maximum(now_ms / (feature.window_s * 1000.0) - epochs, 0.0)  # In windows since the newest one began.
    return np.clip(2.0 - age, 0.0, 1.0), np.clip(1.0 - age, 0.0, 1.0)
