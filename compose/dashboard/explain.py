"""Why an item got its score: what the score loses when one group of ranker inputs is replaced by its average.

Leave one out, with the weights of the version that answered and the inputs that the server logged with the list. The
inputs of a group are replaced by the trainer's running means, so a contribution says how far this item's counters or
vectors lift it above an item that is average in them. Groups, because single inputs of one kind stand in for each
other: without one the others carry its part. Contributions need not add up to the score: the ranker is no sum.
Letters: `n` items, `F` ranker inputs, `G` groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.model_inputs import (
    declared_names,
    ranker_input_names,
    user_input_names,
)
from serving.numpy_ranker import NumpyRanker
from trainer.version_delta import decode_delta

_SCORE_TOLERANCE = 0.02
"""Logged inputs are shortened floats, and rules may add to a score."""


@dataclass(frozen=True)
class Explanation:
    """What carried each item of one list."""

    groups: tuple[str, ...]
    contributions: NDArray[np.float64]
    """(n, G) in logits."""
    is_exact: bool
    """Whether the scores made here are those that were served, so that the weights and inputs are the right ones."""


def explain(
    payload: bytes, rows: NDArray[np.float32], scores: Sequence[float], features: FeaturesConfig
) -> Explanation | None:
    """Explain a list; None where the version has other inputs than this configuration.

    Args:
        payload: the delta that led to the version that answered.
        rows: (n, F) inputs as logged.
        scores: (n,) as served.
        features: of the app.

    Raises:
        VersionError: the payload is no delta.
    """
    dense = decode_delta(payload).dense
    names = ranker_input_names(features)
    if rows.ndim != 2 or rows.shape[1] != len(names) or len(dense["ranker.input_mean"]) != len(names):
        return None
    groups = group_of_inputs(features)
    ranker = NumpyRanker(dense)
    whole = ranker.rank(rows)
    told = tuple(dict.fromkeys(groups))
    parts = np.zeros((len(rows), len(told)))
    for column, group in enumerate(told):
        changed = rows.copy()
        belongs = np.array([name == group for name in groups])
        changed[:, belongs] = dense["ranker.input_mean"][belongs]
        parts[:, column] = whole - ranker.rank(changed)
    is_exact = bool(np.abs(whole - np.asarray(scores, dtype=np.float32)).max(initial=0.0) <= _SCORE_TOLERANCE)
    return Explanation(told, parts, is_exact)


def group_of_inputs(features: FeaturesConfig) -> list[str]:
    """Return the group of each ranker input in order, in the words of people."""
    of_user, declared = set(user_input_names(features)), set()
    for entity in ("item", "user", "global"):
        declared |= set(declared_names(features, entity))
    return [_group(name, of_user, declared) for name in ranker_input_names(features)]


def _group(name: str, of_user: set[str], declared: set[str]) -> str:
    if name in declared:
        return "your own features"
    if name in of_user:
        return "how active the user is"
    kinds = (
        ("what others chose next", ("co_visitation", "next_item", "recent_rank")),
        ("popularity now", ("popularity", "item_events", "item_share", "item_positive_rate")),
        ("clicks when shown", ("item_lists", "item_clicks")),
        ("shown to this user before", ("user_item_shown",)),
        ("the user's categories", ("category_",)),
        ("learnt taste (vectors)", ("tower_score",)),
        ("likeness of titles", ("title_",)),
        ("age of the item", ("item_age", "item_is_new", "item_known_for", "item_idle_for")),
        ("first ranking of candidates", ("pre_ranker", "hand_score")),
    )
    return next((group for group, starts in kinds if name.startswith(starts)), "other")
