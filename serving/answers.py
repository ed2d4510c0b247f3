"""What is asked of a recommender and what it answers, free of gRPC and Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FALLBACK = "fallback"
"""Source of items that no model ranked."""


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


@dataclass(frozen=True)
class RankedItem:
    """One item of an answer."""

    item_id: str
    score: float
    source: str


@dataclass(frozen=True)
class Answer:
    """An answered list and where it came from."""

    request_id: str
    items: tuple[RankedItem, ...]
    model_version: str
    model_age_s: float
    degraded_reasons: tuple[str, ...]
    served_time_ms: int


@dataclass(frozen=True)
class RankedList:
    """A ranked list with the inputs behind it, best first."""

    items: tuple[RankedItem, ...]
    rows: NDArray[np.float32]
    """(num_items, F) ranker inputs; (0, 0) from the fallback."""
    user_row: NDArray[np.float32]
    """(U,) user-level inputs; empty from the fallback."""
    feature_schema_hash: str
    """Names the order of `rows`; empty from the fallback."""


def without_inputs(items: tuple[RankedItem, ...]) -> RankedList:
    """Return a list that no ranker inputs stand behind."""
    return RankedList(items, np.zeros((0, 0), dtype=np.float32), np.zeros(0, dtype=np.float32), "")
