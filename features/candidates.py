"""Candidate lists with their ranker inputs: one function for server, trainer and `evaluate`.

Sources are merged in the order of `SOURCES`; an item found by several is named after the first.
Letters: `N` items in the caller's row space, `n` candidates, `H` half-lives, `L` history, `F` ranker inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.co_visitation import CoVisitation
from features.config import FeaturesConfig
from features.declared_features import of_entity
from features.declared_values import declared_values
from features.item_table import ItemTable
from features.user_state import UserState

Source = Literal["covisitation", "popularity", "tower", "fresh", "given"]


@dataclass(frozen=True)
class Catalog:
    """Item arrays aligned with the caller's rows, as of one moment."""

    counts: NDArray[np.float64]
    """(N, H, 3) decayed to now."""
    categories: NDArray[np.int32]
    """(N, M) category codes, -1 where none."""
    category_names: list[str]
    published_time_ms: NDArray[np.int64]
    """(N,), 0 where unknown."""
    excluded: NDArray[np.bool_]
    """(N,) unavailable or expired."""
    exposure: NDArray[np.float64]
    """(N, H, 3) lists, expected clicks and clicks decayed to now."""
    declared: NDArray[np.float64]
    """(N, W) raw numbers of the declared item features."""
    global_declared: NDArray[np.float64]
    """(1, W) raw numbers of the declared global features."""
    now_ms: int

    @cached_property
    def popularity(self) -> NDArray[np.float64]:
        """Share of the positives, (N,); lists of one moment share it."""
        return model_inputs.popularity(self.counts)

    @cached_property
    def totals(self) -> NDArray[np.float64]:
        """Counts over all items, (H, 3); lists of one moment share it."""
        return np.asarray(self.counts.sum(axis=0))

    @classmethod
    def of_table(cls, table: ItemTable, now_ms: int, table_rows: NDArray[np.int64] | None = None) -> Catalog:
        """Read a table as of now; `table_rows` (N,) maps the caller's rows to the table's."""
        rows = slice(None) if table_rows is None else table_rows
        return cls(
            counts=table.counters.read(now_ms, table_rows),
            categories=table.categories[rows],
            category_names=table.category_names,
            published_time_ms=table.published_time_ms[rows],
            excluded=~table.available(now_ms)[rows],
            exposure=table.exposures(now_ms)[rows],
            declared=table.declared.rows(len(table))[rows],
            global_declared=table.global_declared.rows(1),
            now_ms=now_ms,
        )


@dataclass(frozen=True)
class CandidateList:
    """Candidates of one request with what the ranker sees of them."""

    rows: NDArray[np.int64]
    """(n,) in the caller's row space."""
    sources: tuple[Source, ...]
    inputs: NDArray[np.float32]
    """(n, F)"""
    hand_scores: NDArray[np.float32]
    """(n,)"""
    user_inputs: NDArray[np.float32]
    """(U,)"""


def build_list(
    user: UserState,
    history_rows: NDArray[np.int64],
    shown_rows: NDArray[np.int64],
    catalog: Catalog,
    excluded: NDArray[np.bool_],
    co_visitation: CoVisitation,
    tower_scores: NDArray[np.floating[Any]] | None,
    features: FeaturesConfig,
    given_rows: NDArray[np.int64] | None = None,
) -> CandidateList:
    """Retrieve from every source over all items, merge, and compute the ranker inputs.

    Args:
        user: the user as of `catalog.now_ms`.
        history_rows: (L,) the user's items in the caller's rows, newest first, -1 unknown.
        shown_rows: (E,) what the user was shown in the caller's rows, as `user.shown_item_ids`, -1 unknown.
        catalog: items as of now.
        excluded: (N,) items that must not be listed (consumed, unavailable, filtered).
        co_visitation: pairs over the caller's rows.
        tower_scores: (N,) dot products, None where the model has none.
        features: sizes of the sources, declared features.
        given_rows: when set, exactly these (less the excluded) are the candidates.
    """
    num_items, config = len(catalog.counts), features.candidates
    popularity = catalog.popularity
    windows = co_visitation.scores(history_rows, num_items)  # (W, N)
    hand = model_inputs.hand_score(popularity, windows[-1])
    tower = np.zeros(num_items) if tower_scores is None else np.asarray(tower_scores, dtype=np.float64)
    if given_rows is not None:
        rows = given_rows[~excluded[given_rows]]
        sources: tuple[Source, ...] = tuple("given" for _ in rows)
    else:
        rows, sources = _union(
            [
                ("covisitation", _top(np.where(windows[-1] > 0, hand, -np.inf), excluded, config.co_visitation)),
                ("covisitation", _top(np.where(windows[-1] > 0, windows[-1], -np.inf), excluded, config.co_visitation)),
                ("popularity", _top(popularity, excluded, config.popularity)),
                ("tower", _top(tower, excluded, config.tower) if tower_scores is not None else _no_rows()),
                ("fresh", _top(catalog.published_time_ms.astype(np.float64), excluded, config.fresh)),
            ]
        )
    inputs, user_row = _ranker_inputs(user, shown_rows, catalog, rows, popularity, windows, hand, tower, features)
    return CandidateList(rows, sources, inputs, hand[rows].astype(np.float32), user_row)


def popularity_order(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return item rows by decayed popularity, best first; the fallback ranking; (N, H, 3) -> (N,)."""
    return np.argsort(-model_inputs.popularity(counts), kind="stable")


def _no_rows() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


def _top(scores: NDArray[np.float64], excluded: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """Return the best `size` rows that are not excluded and have a finite score, best first."""
    allowed = np.where(excluded, -np.inf, scores)
    if size < len(allowed):
        rows = np.argpartition(-allowed, size - 1)[:size] if size else _no_rows()
    else:
        rows = np.arange(len(allowed))
    rows = rows[np.isfinite(allowed[rows])]
    return np.asarray(rows[np.argsort(-allowed[rows], kind="stable")], dtype=np.int64)


def _union(found: list[tuple[Source, NDArray[np.int64]]]) -> tuple[NDArray[np.int64], tuple[Source, ...]]:
    """Merge the sources; the first that found an item names it."""
    rows = np.concatenate([source_rows for _, source_rows in found])
    names = [name for name, source_rows in found for _ in range(len(source_rows))]
    _, first = np.unique(rows, return_index=True)
    first.sort()
    return rows[first], tuple(names[index] for index in first)


def _ranker_inputs(
    user: UserState,
    shown_rows: NDArray[np.int64],
    catalog: Catalog,
    rows: NDArray[np.int64],
    popularity: NDArray[np.float64],
    windows: NDArray[np.float64],
    hand: NDArray[np.float64],
    tower: NDArray[np.float64],
    features: FeaturesConfig,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stack the columns in the order of `ranker_input_names`: (n, F) and (U,) float32."""
    user_row = model_inputs.user_inputs(user.counts, len(user.history_item_ids))
    category_counts = np.array(
        [user.category_counts.get(name, np.zeros(3)) for name in catalog.category_names]
    ).reshape(-1, 3)
    columns: list[NDArray[np.floating[Any]]] = [
        model_inputs.item_inputs(catalog.counts[rows], catalog.totals),
        model_inputs.log_probabilities(windows[:, rows].T),
        model_inputs.list_ranks(popularity[rows])[:, None],
        model_inputs.list_ranks(windows[-1, rows])[:, None],
        model_inputs.category_inputs(category_counts, user.counts[-1], catalog.categories[rows]),
        tower[rows, None],
        model_inputs.age_inputs(catalog.published_time_ms[rows], catalog.now_ms),
        model_inputs.exposure_inputs(catalog.exposure[rows]),
        model_inputs.shown_inputs(rows, shown_rows, user.shown_times_ms, catalog.now_ms),
        np.broadcast_to(user_row, (len(rows), len(user_row))),
        *_declared_inputs(user, catalog, rows, features),
    ]
    clipped = np.clip(np.concatenate(columns, axis=1), -model_inputs.CLIP, model_inputs.CLIP)
    # The hand score stays unclipped: it is the ranker's skip connection and starts as the whole answer.
    return np.concatenate([clipped, hand[rows, None]], axis=1).astype(np.float32), user_row


def _declared_inputs(
    user: UserState, catalog: Catalog, rows: NDArray[np.int64], features: FeaturesConfig
) -> list[NDArray[np.float64]]:
    """Return the declared features of the items, the user and all together, each (n, V); nothing where none is."""
    if not features.declared:
        return []
    raw = {"item": catalog.declared[rows], "user": user.declared[None], "global": catalog.global_declared}
    values = [declared_values(of_entity(features.declared, e), numbers, catalog.now_ms) for e, numbers in raw.items()]
    return [np.broadcast_to(one, (len(rows), one.shape[1])) for one in values]
