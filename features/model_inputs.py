"""From raw counters to what the ranker sees: decay to now, ratios with priors, logs, in-list features.

One vectorised function for server, trainer and `evaluate`; the names in order are the schema that
`feature_schema_hash` stands for.
Letters: `N` items, `n` candidates, `H` half-lives, `F` ranker inputs, `U` user inputs.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from features.co_visitation import WINDOWS
from features.config import FeaturesConfig
from features.counter_rows import KINDS

RANKER_USER_SERVICE = "ranker_user_v1"
RANKER_ITEM_SERVICE = "ranker_item_v1"

PRIOR_EVENTS = 20.0
"""Strength of the prior in rates: (positives + 20 p) / (events + 20)."""
CLIP = 5.0
"""Inputs are clipped to [-5, 5]."""
CO_VISITATION_SHARE = 0.9
"""Weight of co-visitation against popularity in the hand-weighted score."""
_SHARE_FLOOR = 1e-5
"""Smallest probability that a log is taken of."""


def ranker_input_names(features: FeaturesConfig) -> tuple[str, ...]:
    """Return the names of the ranker inputs in order; the last one is `hand_score`."""
    spans = [_span(half_life_s) for half_life_s in features.half_lives_s]
    per_span = [f"item_{what}_decay_{span}" for span in spans for what in ("events", "positive_rate", "share")]
    windows = [f"co_visitation_last_{window}" for window in WINDOWS]
    ranks = ["popularity_rank", "co_visitation_rank"]
    affinity = ["category_positive_affinity", "category_event_affinity"]
    rest = ["tower_score", "item_age", "item_is_new"]
    return (*per_span, *windows, *ranks, *affinity, *rest, *user_input_names(features), "hand_score")


def user_input_names(features: FeaturesConfig) -> tuple[str, ...]:
    """Return the names of the user-level inputs, also logged as `user_row`."""
    spans = [_span(half_life_s) for half_life_s in features.half_lives_s]
    return (*[f"user_events_decay_{span}" for span in spans], "user_positive_rate", "user_history_length")


def feature_schema_hash(features: FeaturesConfig) -> str:
    """Name the schema: 16 hex digits over the input names, the kinds and the half-lives."""
    names = "\n".join([RANKER_USER_SERVICE, RANKER_ITEM_SERVICE, *KINDS, *ranker_input_names(features)])
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def popularity(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each item's share of the positives, averaged over half-lives; (N, H, 3) -> (N,)."""
    positives = counts[:, :, 1]
    return np.asarray((positives / np.maximum(positives.sum(axis=0), 1e-9)).mean(axis=1))


def hand_score(popularity_share: NDArray[np.float64], co_visitation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix P(next | last 20) with decayed popularity, as a log; the score to beat and the ranker's start; (N,)."""
    mixed = CO_VISITATION_SHARE * co_visitation + (1.0 - CO_VISITATION_SHARE) * popularity_share
    return np.asarray(np.log(mixed + _SHARE_FLOOR))


def user_inputs(counts: NDArray[np.float64], history_length: int) -> NDArray[np.float32]:
    """Return the user-level inputs; counts (H, 3) -> (U,) float32."""
    rate = (counts[-1, 1] + 0.5 * PRIOR_EVENTS) / (counts[-1, 0] + PRIOR_EVENTS)
    values = [*np.log1p(counts[:, 0]), np.log(rate / (1.0 - rate)), np.log1p(history_length)]
    return np.clip(np.array(values), -CLIP, CLIP).astype(np.float32)


def item_inputs(counts: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return volume, positive rate against the global one, and share of positives per half-life.

    Args:
        counts: (n, H, 3) of the candidates.
        totals: (H, 3) over all items.

    Returns:
        (n, H * 3), half-life-major.
    """
    events, positives = counts[:, :, 0], counts[:, :, 1]
    prior = (totals[:, 1] + 1.0) / (totals[:, 0] + 2.0)  # (H,)
    rate = (positives + PRIOR_EVENTS * prior) / (events + PRIOR_EVENTS)
    share = positives / np.maximum(totals[:, 1], 1.0)
    stacked = np.stack([np.log1p(events), 4.0 * np.log(rate / prior), _log_share(share)], axis=2)
    return np.asarray(stacked.reshape(len(counts), 3 * counts.shape[1]))


def category_inputs(
    category_counts: NDArray[np.float64], user_counts: NDArray[np.float64], categories: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return how much the user leans to the candidates' categories, in positives and in events.

    Args:
        category_counts: (C, 3) of the user.
        user_counts: (3,) of the user, longest half-life.
        categories: (n, M) category codes of the candidates, -1 where none.

    Returns:
        (n, 2): log of the mean share over an item's categories, shifted so that "nothing known" is 0.
    """
    if not len(category_counts):
        return np.zeros((len(categories), 2))
    shares = (category_counts[:, [1, 0]] + 0.2) / (user_counts[[1, 0]] + 2.0)  # (C, 2)
    used = (categories >= 0)[:, :, None]
    summed = np.where(used, shares[categories], 0.0).sum(axis=1)  # (n, 2)
    mean = summed / np.maximum(used.sum(axis=1), 1)
    return np.where(used.any(axis=1), np.log(mean + 1e-3) + 2.3, 0.0)


def list_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log ranks within the list, best = 0, scaled to about [0, 1.2]; (n,) -> (n,)."""
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return np.asarray(np.log1p(ranks) / 4.0)


def log_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale probabilities: log share, shifted so that a typical candidate is near 0."""
    return _log_share(scores)


def age_inputs(published_time_ms: NDArray[np.int64], now_ms: int) -> NDArray[np.float64]:
    """Return log age in hours (0 where unknown) and whether the item is younger than an hour; (n,) -> (n, 2)."""
    hours = np.maximum(now_ms - published_time_ms, 0) / 3.6e6
    known = published_time_ms > 0
    return np.stack([np.where(known, np.log1p(hours) / 2.0, 0.0), (known & (hours < 1.0)).astype(np.float64)], axis=1)


def _log_share(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((np.log(share + _SHARE_FLOOR) + 6.0) / 2.0)


def _span(half_life_s: float) -> str:
    """Write 60 as `1m`, 3600 as `1h`, 86400 as `1d`."""
    for unit, seconds in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if half_life_s >= seconds and half_life_s % seconds == 0:
            return f"{half_life_s / seconds:g}{unit}"
    return f"{half_life_s:g}s"
