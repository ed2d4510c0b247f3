"""Answers requests: hydrate the user, retrieve, rank, filter, log. Knows no gRPC.

A request takes the live model once and holds it to its end, so no answer mixes versions.
Letters: `N` items of the version, `n` candidates, `F` ranker inputs.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from features.candidate_pool import Workspace
from features.candidates import CandidateList, ListContext, UserRows, build_list, list_context
from features.config import AppConfig, FeaturesConfig
from features.item_summary import ItemSummary
from features.item_table import ItemTable
from features.user_state import UserState
from serving.answers import FALLBACK, Answer, RankedItem, RankedList, RecommendQuery, without_inputs
from serving.config import ServingConfig
from serving.popularity import PopularityRanker, lacks_category
from serving.served_log import ServedList
from serving.serving_model import ServingModel
from serving.stage_times import StageTimes

logger = logging.getLogger(__name__)

NO_MODEL = "no_model"
RANKER_FAILED = "ranker_failed"
_NO_ROWS: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


class UserReader(Protocol):
    """Reads one user."""

    async def read(self, user_id: str, now_ms: int) -> tuple[UserState, str | None]:
        """Return the user as of now, cold with a reason where the store did not answer in time."""


class LiveModel(Protocol):
    """Holds the model that serves now."""

    @property
    def live(self) -> ServingModel | None:
        """The live model; None before the first."""


class ServedSink(Protocol):
    """Takes what was served."""

    def put(self, served: ServedList) -> None:
        """Queue one list; never waits."""


class Recommender:
    """Answers `Recommend`, `Rank` and `SimilarItems`.

    Args:
        app: surfaces and features.
        config: sizes of the candidate sources, and how much runs at once.
        models: holds the live model.
        users: reads user features.
        items: the item table.
        served: takes served lists.
        times: takes stage durations.
        clock_ms: tells the time.
    """

    def __init__(
        self,
        app: AppConfig,
        config: ServingConfig,
        models: LiveModel,
        users: UserReader,
        items: ItemTable,
        served: ServedSink,
        times: StageTimes,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._app = app
        self._features = app.features
        self._context_ms = config.catalog_ms
        self._turns = asyncio.Semaphore(config.max_user_reads)
        self._workspace = Workspace()
        self._context: tuple[ServingModel, ListContext] | None = None
        self._models = models
        self._users = users
        self._items = items
        self._served = served
        self._popular = PopularityRanker(items)
        self._times = times
        self._clock_ms = clock_ms

    async def recommend(self, query: RecommendQuery) -> Answer:
        """Return the best `num_items` items the user had nothing to do with yet, and log them as served."""
        with self._times.stage("total"):
            now_ms = self._clock_ms()
            user, reasons = await self._hydrate(query.user_id, now_ms)
            model = self._ready_model()
            ranked, reasons = self._rank_or_fall_back(model, query, user, reasons, now_ms)
            answer = self._answer(model, ranked, reasons, now_ms)
        self._log_served(query, answer, ranked)
        return answer

    async def rank(self, user_id: str, item_ids: Sequence[str]) -> Answer:
        """Score exactly these items, consumed ones too, best first; unknown ones stand last with the lowest score."""
        with self._times.stage("total"):
            now_ms = self._clock_ms()
            user, reasons = await self._hydrate(user_id, now_ms)
            model = self._ready_model()
            query = RecommendQuery(user_id, len(item_ids), candidate_item_ids=item_ids)
            # Everything asked for is scored: nothing is excluded, so consumed items are forgotten here.
            ranked, reasons = self._rank_or_fall_back(model, query, user, reasons, now_ms, exclude=False)
            return self._answer(model, _with_missing(ranked, item_ids), reasons, now_ms)

    def similar_items(self, item_id: str, num_items: int) -> Answer:
        """Return the items most like `item_id` by vector and co-visitation; by popularity where it is unknown."""
        now_ms = self._clock_ms()
        model = self._ready_model()
        row = -1 if model is None else model.row_of(item_id)
        if model is None or row < 0:
            reasons = (NO_MODEL,) if model is None else ("unknown_item",)
            query = RecommendQuery("", num_items, exclude_item_ids=(item_id,))
            return self._answer(model, self._popular.rank(query, frozenset(), now_ms), reasons, now_ms)
        excluded = ~self._items.available(now_ms)[model.table_rows]
        excluded[row] = True
        scores = np.where(excluded, -np.inf, model.similarity(row))
        rows = _best(scores, num_items)
        source = np.where(model.counts.pairs.similar(row, model.num_items) > 0, "covisitation", "tower")
        items = tuple(RankedItem(model.item_ids[r], float(scores[r]), str(source[r])) for r in rows)
        return self._answer(model, without_inputs(items), (), now_ms)

    def _ready_model(self) -> ServingModel | None:
        """Return the live model, None where it knows no item yet: a trainer's very first version is empty."""
        model = self._models.live
        return model if model is not None and model.num_items else None

    async def _hydrate(self, user_id: str, now_ms: int) -> tuple[UserState, tuple[str, ...]]:
        async with self._turns:
            with self._times.stage("hydrate"):
                user, reason = await self._users.read(user_id, now_ms)
        return user, () if reason is None else (reason,)

    def _rank_or_fall_back(
        self,
        model: ServingModel | None,
        query: RecommendQuery,
        user: UserState,
        reasons: tuple[str, ...],
        now_ms: int,
        exclude: bool = True,
    ) -> tuple[RankedList, tuple[str, ...]]:
        """Rank with the model, or by decayed popularity where there is none or it fails, naming the reason."""
        consumed = user.consumed if exclude else frozenset[str]()
        if model is None:
            return self._popular.rank(query, consumed, now_ms, exclude), (*reasons, NO_MODEL)
        try:
            return self._ranked(model, query, user, now_ms, exclude), reasons
        except Exception:  # Whatever a model does wrong, its callers get a valid list.
            logger.exception("version %s failed to rank; answering by popularity", model.version)
            return self._popular.rank(query, consumed, now_ms, exclude), (*reasons, RANKER_FAILED)

    def _ranked(
        self, model: ServingModel, query: RecommendQuery, user: UserState, now_ms: int, exclude: bool
    ) -> RankedList:
        with self._times.stage("candidates"):
            found = self._find_candidates(model, query, user, now_ms, exclude)
        with self._times.stage("rank"):
            scores = model.rank(found.inputs)  # (n,)
            best = _best(scores, query.num_items)
        items = tuple(
            RankedItem(model.item_ids[found.rows[place]], float(scores[place]), found.sources[place]) for place in best
        )
        return RankedList(items, found.inputs[best], found.user_inputs, model.feature_schema_hash)

    def _find_candidates(
        self, model: ServingModel, query: RecommendQuery, user: UserState, now_ms: int, exclude: bool
    ) -> CandidateList:
        context = self._context_at(model, now_ms)
        history = model.rows_of(user.history_item_ids)
        consumed = model.known_rows((*user.consumed, *query.exclude_item_ids)) if exclude else _NO_ROWS
        return build_list(
            user,
            UserRows(history, consumed, model.rows_of(user.shown_item_ids)),
            context,
            now_ms,
            model.tower_query(user, history),
            self._features_for(query),
            model.pre_ranker,
            self._workspace,
            self._given_rows(model, query, context, consumed, exclude),
            self._in_category(model, query) if exclude else None,
        )

    def _given_rows(
        self,
        model: ServingModel,
        query: RecommendQuery,
        context: ListContext,
        consumed: NDArray[np.int64],
        exclude: bool,
    ) -> NDArray[np.int64] | None:
        """Return the rows that the caller asked for, with `exclude` less those that must not be shown."""
        if not query.candidate_item_ids:
            return None
        rows = model.known_rows(tuple(dict.fromkeys(query.candidate_item_ids)))
        if not exclude:
            return rows
        allowed = context.is_listable[rows] & ~np.isin(rows, consumed)
        in_category = self._in_category(model, query)
        return rows[allowed if in_category is None else allowed & in_category[rows]]

    def _in_category(self, model: ServingModel, query: RecommendQuery) -> NDArray[np.bool_] | None:
        """Say which items have a wanted category, (N,); None where any will do."""
        if not query.category_filter:
            return None
        table = self._items
        lacks = lacks_category(table.categories, table.category_names, query.category_filter)
        return ~lacks[model.table_rows]

    def _features_for(self, query: RecommendQuery) -> FeaturesConfig:
        """Return the settings with room for a long list."""
        candidates = self._features.candidates
        if candidates.total >= query.num_items:
            return self._features
        longer = candidates.model_copy(update={"total": query.num_items})
        return self._features.model_copy(update={"candidates": longer})

    def _context_at(self, model: ServingModel, now_ms: int) -> ListContext:
        """Return what lists share as of now, or of a moment so short ago that it makes no difference."""
        if self._context is not None:
            kept_model, kept = self._context
            if kept_model is model and 0 <= now_ms - kept.summary.now_ms < self._context_ms:
                return kept
        rows_of_table = np.full(len(self._items), -1, dtype=np.int64)
        rows_of_table[model.table_rows] = np.arange(model.num_items)
        summary = ItemSummary.of_table(self._items, now_ms)
        made = list_context(summary, self._items, model.counts, model.table_rows, rows_of_table)
        self._context = (model, made)
        return made

    def _answer(self, model: ServingModel | None, ranked: RankedList, reasons: tuple[str, ...], now_ms: int) -> Answer:
        is_model_answer = model is not None and RANKER_FAILED not in reasons
        self._times.count_answer(reasons)
        return Answer(
            request_id=uuid.uuid4().hex,
            items=ranked.items,
            model_version=model.version if model is not None and is_model_answer else "",
            model_age_s=max(0.0, (now_ms - model.created_time_ms) / 1000.0) if model is not None else 0.0,
            degraded_reasons=reasons,
            served_time_ms=now_ms,
        )

    def _log_served(self, query: RecommendQuery, answer: Answer, ranked: RankedList) -> None:
        self._served.put(
            ServedList(
                request_id=answer.request_id,
                user_id=query.user_id,
                surface=query.surface,
                served_time_ms=answer.served_time_ms,
                model_version=answer.model_version,
                feature_schema_hash=ranked.feature_schema_hash,
                user_row=ranked.user_row,
                context=query.context,
                item_ids=[item.item_id for item in ranked.items],
                scores=[item.score for item in ranked.items],
                sources=[item.source for item in ranked.items],
                rows=ranked.rows,
                learn=self._app.surfaces[query.surface].learn,
            )
        )


def _with_missing(ranked: RankedList, item_ids: Sequence[str]) -> RankedList:
    """Append the asked items that nothing is known of, below the lowest score."""
    found = {item.item_id for item in ranked.items}
    floor = min((item.score for item in ranked.items), default=0.0)
    missing = tuple(RankedItem(item_id, floor, FALLBACK) for item_id in dict.fromkeys(item_ids) if item_id not in found)
    return without_inputs((*ranked.items, *missing))


def _best(scores: NDArray[np.floating[Any]], size: int) -> NDArray[np.int64]:
    """Return the places of the best finite scores, best first, equal ones in their order."""
    order = np.argsort(-scores, kind="stable")[:size]
    return np.asarray(order[np.isfinite(scores[order])], dtype=np.int64)
