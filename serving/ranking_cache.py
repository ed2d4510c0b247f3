"""The last ranking of every user of late, for requests that leave no time to rank; of the arm that answers him now."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.answers import RecommendQuery
from serving.arms.arm import Arm
from serving.catalog import Catalog
from serving.stages.filter import Limits
from serving.stages.rank import Ranking

_KEPT = 100
"""Best items kept of a ranking."""


@dataclass(frozen=True, slots=True)
class _Kept:
    time_ms: int
    table_rows: NDArray[np.int64]
    """Of the item table: versions come and go, its rows stay."""
    scores: NDArray[np.float32]
    source_codes: NDArray[np.int64]
    model_version: str
    model_created_ms: int


class RankingCache:
    """Rankings by arm, user and surface, without the inputs behind them.

    Args:
        size: rankings kept; the least lately ranked goes first.
        max_age_s: how long one is good.
    """

    def __init__(self, size: int, max_age_s: float) -> None:
        self._size = size
        self._max_age_ms = max_age_s * 1000.0
        self._kept: OrderedDict[tuple[tuple[str, str], str, str], _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, arm: Arm, query: RecommendQuery, catalog: Catalog, ranking: Ranking, now_ms: int) -> None:
        """Keep the best of an arm's ranking of the whole catalogue."""
        if not self._size:
            return
        best = ranking.order[:_KEPT]
        key = arm.key, query.user_id, query.surface
        table_rows = catalog.context.table_rows[ranking.rows[best]]
        scores, source_codes = ranking.scores[best], ranking.source_codes[best]
        made_by = ranking.model_version, ranking.model_created_ms
        self._kept[key] = _Kept(now_ms, table_rows, scores, source_codes, *made_by)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def find(self, arm: Arm, query: RecommendQuery, catalog: Catalog, limits: Limits, now_ms: int) -> Ranking | None:
        """Return what is left of the arm's last ranking of a user when only what may be shown now is kept.

        None for nothing, and for a part that leaves a list short although there is more to show.
        """
        kept = self._kept.get((arm.key, query.user_id, query.surface))
        if kept is None or now_ms - kept.time_ms > self._max_age_ms:
            return None
        rows = catalog.rows_of_table[kept.table_rows]
        places = np.flatnonzero(rows >= 0)
        places = places[limits.is_shown(rows[places], catalog)]
        if not len(places) or (len(places) < query.num_items and len(places) < limits.num_shown(catalog)):
            return None
        return Ranking(
            rows=rows[places],
            scores=kept.scores[places],
            source_codes=kept.source_codes[places],
            order=np.arange(len(places)),
            inputs=None,
            user_inputs=None,
            model_version=kept.model_version,
            model_created_ms=kept.model_created_ms,
        )
