"""Answers requests; `Recommender.recommend` is the whole pipeline in one place. Knows no gRPC.

    hydrate -> filter -> candidates -> rank -> diversify -> explore -> answer -> log

Each stage is a file of `serving/stages/`. A request takes the live model once and holds it until its answer is
made, so no answer mixes versions; the arm of its user says which model that is (`serving/arms/`). Where time runs out
or something fails, `Recommender` goes down the ladder: fewer candidates, the user's last ranking, popularity
(`serving/fallback.py`); the reason is in the answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from features.candidates import SOURCES
from features.config import AppConfig
from features.item_table import ItemTable
from features.user_state import UserState
from serving.answers import (
    CACHED_RANKING,
    FALLBACK,
    FEWER_CANDIDATES,
    ITEMS_NOT_CURRENT,
    NO_MODEL,
    PINNED,
    POPULARITY_ONLY,
    RANKER_FAILED,
    Answer,
    RankedItem,
    RankedList,
    RecommendQuery,
)
from serving.arms.arm import Answered, Arm, LiveModel
from serving.arms.arm_table import ArmTable
from serving.budget import Budget, CostEstimate
from serving.catalog import Catalog, SummaryKeeper
from serving.config import ServingConfig
from serving.fallback import FallbackLadder
from serving.ranking_cache import RankingCache
from serving.rules import RulesConfig
from serving.serving_model import ServingModel
from serving.similar_items import SimilarItems
from serving.stage_times import StageClock, StageTimes
from serving.stages.answer import make_answer
from serving.stages.by_arm import StagesByArm
from serving.stages.candidates import CandidateFinder
from serving.stages.explore import Shown
from serving.stages.filter import Limits, everything_given, limits_of
from serving.stages.hydrate import Hydrator, UserReader
from serving.stages.log import ServedSink, served_list
from serving.stages.rank import Ranking, rank_candidates, ranked_list, ranking_of

logger = logging.getLogger(__name__)

_FIRST_COST_S = 0.010
"""What a request is believed to take before the first was measured."""

_FAILED_TO = "version %s failed to %s; answering by popularity"

_LATE = 1.25
"""A busy loop wakes late from a read that took all of its time; what the ranking needs must be left even then."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request on its way through the stages."""

    arm: Arm
    query: RecommendQuery
    user: UserState
    is_user_read: bool
    """False where `user` is a cold one because the store or the time did not suffice."""
    budget: Budget
    now_ms: int
    clock: StageClock


class Recommender:
    """Answers `Recommend`, `Rank` and `SimilarItems`.

    Args:
        app: surfaces and features.
        config: sizes, places of exploration, what runs at once.
        models: holds the live model.
        users: reads user features.
        items: the item table.
        served: takes served lists.
        times: takes stage durations.
        rules: tells the rules that hold now.
        clock_ms: tells the time.
        arms: tells which arm answers a user; the live model answers all where it is not given.
        are_items_current: tells whether the item table follows Kafka.
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
        rules: Callable[[], RulesConfig] = RulesConfig,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        arms: ArmTable | None = None,
        are_items_current: Callable[[], bool] = lambda: True,
    ) -> None:
        self._app = app
        self._are_items_current = are_items_current
        self._arms = arms or ArmTable(Arm.outside(models, config))
        self._deadline_s = config.deadline_ms / 1000.0
        self._items = items
        self._served = served
        self._times = times
        self._clock_ms = clock_ms
        summaries = SummaryKeeper(items, config.catalog_ms)
        self._stages = StagesByArm(app.features, items, summaries, rules)
        self._hydrator = Hydrator(users, app.features, config.max_user_reads)
        self._candidates = CandidateFinder()
        self._fallback = FallbackLadder(items, summaries, config.fallback_items, rules)
        self._rankings = RankingCache(config.cached_rankings, config.cached_ranking_s)
        self._work = CostEstimate(_FIRST_COST_S)
        """Of full rankings, `Rank` and `SimilarItems`, in the mix in which they come."""
        self._similar = SimilarItems(items, self._fallback)

    @property
    def cost_s(self) -> float:
        """What a request takes of the event loop of late, behind its user read."""
        return self._work.mean_s

    def prepare(self) -> None:
        """Sum up what lists of one moment share, before the first request would have to: passes over all items."""
        arm = self._arms.default
        with arm.models.take() as live:
            model = _ready(live)
            if model is not None:
                self._stages.of(arm).catalogs.at(model, self._clock_ms())

    async def recommend(self, query: RecommendQuery, budget: Budget | None = None) -> Answer:
        """Return the best `num_items` items the user had nothing to do with yet, and log them as served."""
        budget = budget or Budget.of(self._deadline_s)
        clock = self._times.start()
        now_ms = self._clock_ms()
        spare_s = self._spare_s(budget, self._arms.arm_of(query.user_id))
        user, reason = await self._hydrator.hydrate(query, now_ms, budget, spare_s, clock)
        arm = self._arms.arm_of(query.user_id)  # Once more: a canary may have ended during the read.
        asked = _Asked(arm, query, user, reason is None, budget, now_ms, clock)
        with arm.models.take() as live:
            model = _ready(live)
            ranked = self._ranked_or_fallback(model, asked)
            reasons = self._reasons(reason, ranked)
            answer = make_answer(ranked, model, reasons, now_ms, arm, query.include_heads)
        clock.passed("answer")
        is_learnt = self._app.surfaces[query.surface].learn
        self._served.put(served_list(query, answer, ranked, is_learnt))
        arm.lists += 1
        if arm.watch is not None:
            arm.watch.saw(arm, Answered(answer.request_id, query.user_id, clock.ranking_s, reasons, is_learnt))
        clock.passed("log")
        self._count(clock, reasons)
        return answer

    def _ranked_list(self, model: ServingModel, asked: _Asked) -> RankedList:
        """Take the stages from filter to explore, in as much time as there is."""
        query, now_ms, clock = asked.query, asked.now_ms, asked.clock
        stages = self._stages.of(asked.arm)
        catalog = stages.catalogs.at(model, now_ms)
        clock.passed("catalog")
        limits = limits_of(catalog, self._items, query, asked.user)
        clock.passed("filter")
        ranking, reasons = self._ranking(catalog, limits, asked)
        if ranking is None:
            return self._fallback.rank(query, asked.user, now_ms, (POPULARITY_ONLY,))
        arrangement = stages.diversifier.arrange(ranking, catalog, query.surface, query.num_items)
        clock.passed("diversify")
        # Nothing can be learnt from draws whose inputs are not logged: a recalled ranking is shown as it is.
        is_learnt = self._app.surfaces[query.surface].learn and ranking.inputs is not None
        if stages.explorer.explores(query.surface, is_learnt):
            shown = stages.explorer.fill(arrangement, ranking, catalog, query.num_items, now_ms)
        else:
            shown = Shown(arrangement.first(query.num_items), {})
        clock.passed("explore")
        items = _items_of(catalog, ranking, shown, arrangement.pins)
        return ranked_list(catalog, ranking, items, shown.places, reasons)

    def _ranking(self, catalog: Catalog, limits: Limits, asked: _Asked) -> tuple[Ranking | None, tuple[str, ...]]:
        """Rank all candidates, else fewer of them, else recall the last ranking; None where there is none of these."""
        query, now_ms, clock, stages = asked.query, asked.now_ms, asked.clock, self._stages.of(asked.arm)
        started_s, left_s = time.perf_counter(), asked.budget.left_s()
        is_short = left_s < stages.cost.safe_s
        if is_short and left_s < stages.short_cost.safe_s:
            if left_s > 0.0:  # A request that came too late says nothing of what rankings take.
                stages.short_cost.fade()
            return self._rankings.find(asked.arm, query, catalog, limits, now_ms), (CACHED_RANKING,)
        if is_short:
            stages.cost.fade()
            self._work.fade()
        found = self._candidates.find(catalog, asked.user, limits, now_ms, query.num_items, is_short)
        clock.passed("candidates")
        ranking = rank_candidates(catalog, found, query.surface)
        clock.passed("rank")
        took_s = time.perf_counter() - started_s
        (stages.short_cost if is_short else stages.cost).add(took_s)
        if not is_short:
            self._work.add(took_s)
        is_whole = not is_short and limits.given is None and not query.category_filter
        if is_whole and asked.is_user_read:  # What is worse must not take the place of a good one.
            self._rankings.keep(asked.arm, query, catalog, ranking, now_ms)
        return ranking, (FEWER_CANDIDATES,) if is_short else ()

    def _spare_s(self, budget: Budget, arm: Arm) -> float:
        """Return what the user read must leave: a full ranking, or a short one where both would not fit."""
        stages = self._stages.of(arm)
        full_s = _LATE * stages.cost.safe_s
        return full_s if budget.left_s() >= 2.0 * full_s else _LATE * stages.short_cost.safe_s

    def _ranked_or_fallback(self, model: ServingModel | None, asked: _Asked) -> RankedList:
        """Rank with the model, or go down the ladder where there is none or it fails."""
        if model is None:
            return self._fallback.rank(asked.query, asked.user, asked.now_ms, (NO_MODEL,))
        try:
            return self._ranked_list(model, asked)
        except Exception:  # Whatever a model does wrong, its callers get a valid list.
            logger.exception(_FAILED_TO, model.version, "rank", extra={"version": model.version})
            return self._fallback.rank(asked.query, asked.user, asked.now_ms, (RANKER_FAILED,))

    async def rank(
        self, user_id: str, item_ids: Sequence[str], budget: Budget | None = None, include_heads: bool = False
    ) -> Answer:
        """Score exactly these items, consumed ones too, best first; unknown ones stand last with the lowest score."""
        budget = budget or Budget.of(self._deadline_s)
        clock = self._times.start()
        now_ms = self._clock_ms()
        query = RecommendQuery(user_id, len(item_ids), candidate_item_ids=item_ids)
        spare_s = self._spare_s(budget, self._arms.arm_of(user_id))
        user, reason = await self._hydrator.hydrate(query, now_ms, budget, spare_s, clock)
        arm = self._arms.arm_of(user_id)
        asked = _Asked(arm, query, user, reason is None, budget, now_ms, clock)
        with arm.models.take() as live:
            model = _ready(live)
            ranked = self._scored(model, asked)
            reasons = self._reasons(reason, ranked)
            answer = make_answer(_with_missing(ranked, item_ids), model, reasons, now_ms, arm, include_heads)
        clock.passed("answer")
        self._count(clock, reasons)
        return answer

    def _scored(self, model: ServingModel | None, asked: _Asked) -> RankedList:
        """Score the given items by the model alone: no filter, no rules, nothing drawn."""
        query, now_ms, clock = asked.query, asked.now_ms, asked.clock
        if model is None:
            return self._ordered(asked, NO_MODEL)
        if asked.budget.left_s() <= 0.0:
            return self._ordered(asked, POPULARITY_ONLY)
        started_s = time.perf_counter()
        try:
            catalog = self._stages.of(asked.arm).catalogs.at(model, now_ms)
            clock.passed("catalog")
            limits = everything_given(model, query)
            found = self._candidates.find(catalog, asked.user, limits, now_ms, query.num_items, is_short=False)
            clock.passed("candidates")
            ranking = ranking_of(model, found, model.rank(found.inputs))
            clock.passed("rank")
        except Exception:
            logger.exception(_FAILED_TO, model.version, "score", extra={"version": model.version})
            return self._ordered(asked, RANKER_FAILED)
        self._work.add(time.perf_counter() - started_s)
        places = ranking.order.tolist()
        return ranked_list(catalog, ranking, _items_of(catalog, ranking, Shown(places, {}), {}), places)

    def _ordered(self, asked: _Asked, reason: str) -> RankedList:
        """Order the given items by popularity."""
        return replace(self._fallback.order(asked.query.candidate_item_ids, asked.now_ms), reasons=(reason,))

    def similar_items(self, item_id: str, num_items: int, budget: Budget | None = None) -> Answer:
        """Return the items most like `item_id`; by popularity where it is unknown or the time does not suffice."""
        now_ms, budget = self._clock_ms(), budget or Budget.of(self._deadline_s)
        arm = self._arms.default  # Nobody in particular asks.
        with arm.models.take() as live:
            model = _ready(live)
            ranked, took_s = self._similar.find(model, item_id, num_items, now_ms, budget)
            reasons = self._reasons(None, ranked)
            answer = make_answer(ranked, model, reasons, now_ms, arm)
        if took_s is not None:
            self._work.add(took_s)
        self._times.count_answer(reasons)
        return answer

    def _reasons(self, user_reason: str | None, ranked: RankedList) -> tuple[str, ...]:
        """Return all that the answer lacks: of its user, of its ranking, of the items."""
        reasons = ranked.reasons if user_reason is None else (user_reason, *ranked.reasons)
        return reasons if self._are_items_current() else (*reasons, ITEMS_NOT_CURRENT)

    def _count(self, clock: StageClock, reasons: tuple[str, ...]) -> None:
        clock.done()
        self._times.count_answer(reasons)


def _ready(live: ServingModel | None) -> ServingModel | None:
    """Return the live model, None where it knows no item yet: a trainer's very first version is empty."""
    return live if live is not None and live.num_items else None


def _items_of(catalog: Catalog, ranking: Ranking, shown: Shown, pins: Mapping[int, int]) -> tuple[RankedItem, ...]:
    """Return the items of a list with their scores, sources and chances, top first."""
    item_ids, places = catalog.model.item_ids, shown.places
    pinned = set(pins.values())
    ids = [item_ids[row] for row in ranking.rows[places].tolist()]
    scores = ranking.scores[places].tolist()
    sources = [SOURCES[code] for code in ranking.source_codes[places].tolist()]
    if pinned:
        sources = [PINNED if one in pinned else source for one, source in zip(places, sources, strict=True)]
    chances: Iterable[float] = repeat(1.0)
    explored: Iterable[bool] = repeat(False)
    if shown.propensities:
        chances = (shown.propensities.get(place, 1.0) for place in range(len(places)))
        explored = (place in shown.explored for place in range(len(places)))
    return tuple(map(RankedItem, ids, scores, sources, chances, explored))


def _with_missing(ranked: RankedList, item_ids: Sequence[str]) -> RankedList:
    """Append the asked items that nothing is known of, below the lowest score."""
    found = {item.item_id for item in ranked.items}
    floor = min((item.score for item in ranked.items), default=0.0)
    missing = tuple(RankedItem(item_id, floor, FALLBACK) for item_id in dict.fromkeys(item_ids) if item_id not in found)
    return replace(ranked, items=(*ranked.items, *missing))
