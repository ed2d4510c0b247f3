"""Stage 3, candidates: from the whole catalogue to a list that can be ranked, with the ranker's inputs.

The sources themselves live in `features/candidates.py`, which trainer and `evaluate` build their lists with too.
"""

from __future__ import annotations

from features.candidate_pool import Workspace
from features.candidates import CandidateList, UserRows, build_list
from features.config import FeaturesConfig
from features.user_state import UserState
from serving.catalog import Catalog
from serving.stages.filter import Limits

_SHORT_TOTAL, _SHORT_HISTORY = 50, 5
"""Candidates, and newest items of the history that they may follow from, where time is short."""


class CandidateFinder:
    """Builds candidate lists, one at a time."""

    def __init__(self) -> None:
        self._workspace = Workspace()
        self._sizes: tuple[FeaturesConfig, dict[tuple[int, bool], FeaturesConfig]] | None = None

    def find(
        self, catalog: Catalog, user: UserState, limits: Limits, now_ms: int, num_items: int, is_short: bool
    ) -> CandidateList:
        """Return candidates with their inputs; `is_short` looks at less of the history and ranks fewer."""
        model = catalog.model
        history = model.rows_of(user.history_item_ids)
        if is_short:
            history = history[:_SHORT_HISTORY]
        features = self._features_for(catalog.features, num_items, is_short)
        num_near = 0 if limits.given is not None else features.candidates.tower
        return build_list(
            user,
            UserRows(history, limits.consumed, model.rows_of(user.shown_item_ids)),
            catalog.context,
            now_ms,
            model.tower_query(user, history, num_near),
            features,
            model.pre_ranker,
            self._workspace,
            limits.given,
            limits.is_allowed,
            keeps_pool=False,
        )

    def _features_for(self, features: FeaturesConfig, num_items: int, is_short: bool) -> FeaturesConfig:
        """Return the settings with room for a long list, or for a short one."""
        total = features.candidates.total
        wanted = max(num_items, min(total, _SHORT_TOTAL) if is_short else total)
        if wanted == total:
            return features
        if self._sizes is None or self._sizes[0] is not features:
            self._sizes = features, {}
        made = self._sizes[1].get((wanted, is_short))
        if made is None:
            changes = {"total": wanted} | ({"tower": 0} if is_short else {})
            candidates = features.candidates.model_copy(update=changes)
            made = self._sizes[1][wanted, is_short] = features.model_copy(update={"candidates": candidates})
        return made
