"""Whatever a user row holds and however little time is left: the model or the ladder answers, and lists are sound."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.answers import NO_TIME_FOR_USER, RANKER_FAILED, Answer, RecommendQuery
from serving.budget import Budget, CostEstimate
from tests.serving.serving_parts import ITEM_IDS, World

FULL_COST_S, SHORT_COST_S = 100.0, 1.0
PLENTY_S, LITTLE_S, NOTHING_S = 1e6, 150.0, 0.5

known_or_not = st.sampled_from([*ITEM_IDS, "gone", "ä", ""])
some_items = st.lists(known_or_not, max_size=60)
times = st.lists(st.integers(min_value=-5, max_value=2_000_000_000_000), max_size=60)

user_rows = st.fixed_dictionaries(
    {},
    optional={
        "user_history_item_ids": some_items,
        "user_history_outcomes": st.lists(st.integers(min_value=-1, max_value=1), max_size=60),
        "user_history_times_ms": times,
        "user_shown_item_ids": some_items,
        "user_shown_times_ms": times,
        "user_category_names": st.lists(st.sampled_from(["drinks", "ä", ""]), max_size=5),
        "user_category_counts": st.lists(st.floats(width=32), max_size=12),
        "user_counters": st.lists(st.floats(width=32), max_size=60),
    },
)
queries = st.builds(
    RecommendQuery,
    user_id=st.just("ann"),
    num_items=st.integers(min_value=1, max_value=80),
    surface=st.sampled_from(["default", "probe"]),
    candidate_item_ids=st.one_of(st.just([]), some_items),
    exclude_item_ids=some_items,
    category_filter=st.lists(st.sampled_from(["drinks", "none"]), max_size=2),
    is_prefetch=st.booleans(),
    include_heads=st.booleans(),
)


def check(answer: Answer, query: RecommendQuery, consumed: frozenset[str]) -> None:
    """Hold what every answer keeps to."""
    ids = [item.item_id for item in answer.items]
    assert RANKER_FAILED not in answer.degraded_reasons
    assert len(ids) == len(set(ids)) <= query.num_items
    assert set(ids).isdisjoint(query.exclude_item_ids)
    assert set(ids).isdisjoint(consumed) or NO_TIME_FOR_USER in answer.degraded_reasons
    assert all(math.isfinite(item.score) and 0.0 < item.propensity <= 1.0 for item in answer.items)


def test_every_request_gets_a_sound_list(tmp_path: Path) -> None:
    """Rows of any length and content, ids that nobody knows, any time left: no ranker fails, no rule is broken."""
    world = World(tmp_path)
    with asyncio.Runner() as runner:
        runner.run(world.serve("1.1"))

        @settings(max_examples=250, deadline=None, database=None)
        @given(
            user_rows,
            queries,
            st.frozensets(known_or_not, max_size=20),
            st.sampled_from([PLENTY_S, LITTLE_S, NOTHING_S]),
        )
        def ask(row: dict[str, Any], query: RecommendQuery, consumed: frozenset[str], left_s: float) -> None:
            world.rows.rows["ann"], world.rows.consumed["ann"] = row, consumed
            world.stages.cost, world.stages.short_cost = CostEstimate(FULL_COST_S), CostEstimate(SHORT_COST_S)
            check(runner.run(world.recommender.recommend(query, Budget.of(left_s))), query, consumed)

        ask()
        runner.run(world.models.stop())
