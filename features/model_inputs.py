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
from features.declared_features import of_entity
from features.declared_values import value_names

PRIOR_EVENTS = 20.0
"""Strength of the prior in rates: (positives + 20 p) / (events + 20)."""
PRIOR_CLICKS = 2.0
"""Clicks, expected and real, that an item starts with: clicks over expected clicks of few lists stay near 1."""
CLIP = 5.0
"""Inputs are clipped to [-5, 5]."""
CO_VISITATION_SHARE = 0.9
"""Weight of co-visitation against popularity in the hand-weighted score."""
_SHARE_FLOOR = 1e-5
"""Smallest probability that a log is taken of."""


def user_service(features: FeaturesConfig) -> str:
    """Return the name of the Feast service with what is known of a user."""
    return f"ranker_user_v{features.service_version}"


def item_service(features: FeaturesConfig) -> str:
    """Return the name of the Feast service with what is known of an item."""
    return f"ranker_item_v{features.service_version}"


def ranker_input_names(features: FeaturesConfig) -> tuple[str, ...]:
    """Return the names of the ranker inputs in order; the last one is `hand_score`."""
    spans = [_span(half_life_s) for half_life_s in features.half_lives_s]
    per_span = [f"item_{what}_decay_{span}" for span in spans for what in ("events", "positive_rate", "share")]
    windows = [f"co_visitation_last_{window}" for window in WINDOWS]
    ranks = ["popularity_rank", "co_visitation_rank"]
    affinity = ["category_positive_affinity", "category_event_affinity"]
    rest = ["tower_score", "item_age", "item_is_new"]
    exposure = [f"item_{what}_decay_{span}" for span in spans for what in ("lists", "clicks_over_expected")]
    shown = ["user_item_shown", "user_item_shown_age"]
    declared = [name for entity in ("item", "user", "global") for name in declared_names(features, entity)]
    names = (*per_span, *windows, *ranks, *affinity, *rest, *exposure, *shown, *user_input_names(features))
    return (*names, *declared, "hand_score")


def declared_names(features: FeaturesConfig, entity: str) -> tuple[str, ...]:
    """Return the names of the inputs that the declared features of one entity give."""
    return value_names(of_entity(features.declared, entity))


def user_input_names(features: FeaturesConfig) -> tuple[str, ...]:
    """Return the names of the user-level inputs, also logged as `user_row`."""
    spans = [_span(half_life_s) for half_life_s in features.half_lives_s]
    return (*[f"user_events_decay_{span}" for span in spans], "user_positive_rate", "user_history_length")


def feature_schema_hash(features: FeaturesConfig) -> str:
    """Name the schema: 16 hex digits over the input names, the kinds and the half-lives."""
    services = [user_service(features), item_service(features)]
    meanings = [feature.definition() for feature in features.declared.values()]
    names = "\n".join([*services, *KINDS, *ranker_input_names(features), *meanings])
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


def exposure_inputs(exposure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often items were listed and their clicks over expected clicks, per half-life.

    Args:
        exposure: (n, H, 3) lists, expected clicks (1 / length of the list) and clicks of the candidates.

    Returns:
        (n, H * 2), half-life-major; 0 where an item was never listed.
    """
    lists, expected, clicks = exposure[:, :, 0], exposure[:, :, 1], exposure[:, :, 2]
    ratio = np.log((clicks + PRIOR_CLICKS) / (expected + PRIOR_CLICKS))
    return np.asarray(np.stack([np.log1p(lists), ratio], axis=2).reshape(len(exposure), 2 * exposure.shape[1]))


def shown_inputs(
    rows: NDArray[np.int64], shown_rows: NDArray[np.int64], shown_times_ms: NDArray[np.int64], now_ms: int
) -> NDArray[np.float64]:
    """Return how often the user was shown each candidate, and log hours since the last time; both 0 where never.

    Args:
        rows: (n,) candidates.
        shown_rows: (E,) items on the user's lists, newest first, -1 unknown, an item as often as it was shown.
        shown_times_ms: (E,)
        now_ms: the time of the request.

    Returns:
        (n, 2)
    """
    if not len(shown_rows):
        return np.zeros((len(rows), 2))
    is_same = rows[:, None] == shown_rows[None, :]  # (n, E)
    times = is_same.sum(axis=1)
    newest_ms = shown_times_ms[is_same.argmax(axis=1)]
    hours = np.maximum(now_ms - newest_ms, 0) / 3.6e6
    return np.stack([np.log1p(times), np.where(times > 0, np.log1p(hours), 0.0)], axis=1)


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
            return f"{half_life_s / seconds:.12g}{unit}"
    return f"{half_life_s:.12g}s"
