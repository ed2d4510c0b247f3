"""What is asked of a recommender and what it answers, free of gRPC and Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FALLBACK = "fallback"
"""Source of items that no model ranked."""
CONFIGURED = "configured"
"""Source of items of `serving.fallback_items`."""
PINNED = "pinned"
"""Source of items that a rule put where they stand."""

NO_MODEL = "no_model"
RANKER_FAILED = "ranker_failed"
NO_TIME_FOR_USER = "no_time_for_user"
"""The request left so little time that the user was not read, or not to the end."""
ITEMS_NOT_CURRENT = "items_not_current"
"""Kafka does not answer: counters of items, new ones and removed ones are those of when it last did."""
UNKNOWN_ITEM = "unknown_item"
"""`SimilarItems` was asked about an item that the version does not know."""
FEWER_CANDIDATES = "fewer_candidates"
"""There was time for a short list of candidates only."""
CACHED_RANKING = "cached_ranking"
"""There was no time to rank: the user's last ranking, less what must not be shown now."""
POPULARITY_ONLY = "popularity_only"
"""There was no time to rank, and no ranking of this user that would do instead."""


@dataclass(frozen=True)
class RecommendQuery:
    """What to recommend to whom; ids are checked already."""

    user_id: str
    num_items: int
    surface: str = "default"
    context: Mapping[str, str] = field(default_factory=dict)
    candidate_item_ids: Sequence[str] = ()
    exclude_item_ids: Sequence[str] = ()
    category_filter: Sequence[str] = ()
    is_prefetch: bool = False
    include_heads: bool = False
    """Whether the answer tells the chance of each head."""


class RankedItem(NamedTuple):
    """One item of an answer."""

    item_id: str
    score: float
    source: str
    propensity: float = 1.0
    """Chance that it stands here given the items above."""
    explored: bool = False
    """Whether a draw put it here in place of the item that ranked best."""


@dataclass(frozen=True)
class Answer:
    """An answered list and where it came from."""

    request_id: str
    items: tuple[RankedItem, ...]
    model_version: str
    model_age_s: float
    degraded_reasons: tuple[str, ...]
    served_time_ms: int
    heads: tuple[Mapping[str, float], ...] = ()
    """Head -> chance of the first items, as many as a model ranked; empty where nobody asked."""
    experiment: str = ""
    """That the user takes part in; empty for none."""
    arm: str = ""
    """Of that experiment."""


@dataclass(frozen=True)
class RankedList:
    """A ranked list with the inputs behind it, best first."""

    items: tuple[RankedItem, ...]
    rows: NDArray[np.float32]
    """(num_items, F) ranker inputs; (0, 0) from the fallback and from a cached ranking."""
    user_row: NDArray[np.float32]
    """(U,) user-level inputs; empty where `rows` is."""
    feature_schema_hash: str
    """Names the order of `rows`; empty where there are none."""
    model_version: str = ""
    """Of the model that ranked; empty from the fallback."""
    reasons: tuple[str, ...] = ()
    """What was left out to be in time."""
    model_created_ms: int = 0
    """When that model was made; 0 from the fallback."""


def without_inputs(
    items: tuple[RankedItem, ...], model_version: str = "", reasons: tuple[str, ...] = (), model_created_ms: int = 0
) -> RankedList:
    """Return a list that no ranker inputs stand behind."""
    no_rows, no_row = np.zeros((0, 0), dtype=np.float32), np.zeros(0, dtype=np.float32)
    return RankedList(items, no_rows, no_row, "", model_version, reasons, model_created_ms)
