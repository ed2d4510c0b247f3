"""Laws of time: what does not fit is cut and named, step by step down the ladder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protos import serving_pb2 as pb
from serving.answers import CACHED_RANKING, FEWER_CANDIDATES, ITEMS_NOT_CURRENT, NO_TIME_FOR_USER, POPULARITY_ONLY
from serving.budget import Budget, CostEstimate
from serving.config import ExplorationConfig, ServingConfig
from serving.stages.explore import Explorer
from tests.serving.serving_parts import ITEM_IDS, FakeUserRows, World

PLENTY = Budget.of(1e6)


@pytest.fixture
async def timed(world: World) -> World:
    """A world that believes a full ranking to take 100 s and a short one 1 s."""
    await world.serve("1.1")
    world.stages.cost, world.stages.short_cost = CostEstimate(100.0), CostEstimate(1.0)
    return world


async def test_time_for_everything_cuts_nothing(timed: World) -> None:
    """No reason, and the ranker saw all candidates."""
    answer = await timed.recommender.recommend(timed.query(num_items=60), PLENTY)
    assert (len(answer.items), answer.degraded_reasons) == (60, ())


async def test_items_of_a_while_ago_are_said_to_be_so(timed: World) -> None:
    """While Kafka does not answer, lists are ranked as ever and tell it, whichever call made them."""
    timed.are_items_current = False
    calls = timed.recommender
    answers = (await calls.recommend(timed.query(), PLENTY), await calls.rank("ann", ITEM_IDS[:3], PLENTY))
    assert [answer.degraded_reasons for answer in answers] == [(ITEMS_NOT_CURRENT,)] * 2
    assert answers[0].model_version == "1.1"


async def test_little_time_ranks_fewer_candidates(timed: World) -> None:
    """The list is full, by the model, and says why it is worse."""
    answer = await timed.recommender.recommend(timed.query(), Budget.of(150.0))
    assert (len(answer.items), answer.model_version, answer.degraded_reasons) == (10, "1.1", (FEWER_CANDIDATES,))
    assert len(timed.served.lists[0].rows) == 10


async def test_little_time_ranks_fewer_for_a_user_with_a_long_history_too(timed: World) -> None:
    """The newest items of a history longer than a short ranking looks at are ranked from, not stumbled over."""
    newest = list(ITEM_IDS[:9])
    timed.rows.rows["ann"] = {
        "user_history_item_ids": newest,
        "user_history_outcomes": [1] * len(newest),
        "user_history_times_ms": list(range(len(newest), 0, -1)),
    }
    answer = await timed.recommender.recommend(timed.query(), Budget.of(150.0))
    assert (answer.model_version, answer.degraded_reasons) == ("1.1", (FEWER_CANDIDATES,))


async def test_no_time_to_rank_recalls_the_last_ranking_less_what_is_gone(timed: World) -> None:
    """Consumed, removed and excluded items are not recalled; no inputs are logged with what was not ranked now."""
    before = await timed.recommender.recommend(timed.query(), PLENTY)
    ids = [item.item_id for item in before.items]
    timed.items.remove_item(ids[0])
    timed.stages.catalogs._summaries._kept = None  # As if the catalog's time were up.
    query = timed.query(exclude_item_ids=(ids[1],))
    answer = await timed.recommender.recommend(query, Budget.of(0.5))
    assert [item.item_id for item in answer.items][:8] == ids[2:]
    assert (answer.model_version, answer.degraded_reasons) == ("1.1", (NO_TIME_FOR_USER, CACHED_RANKING))
    assert timed.served.lists[-1].rows.size == 0


async def test_recalled_ranking_survives_a_swap_of_versions(timed: World) -> None:
    """Rows of versions differ, items do not; answer and log name the version whose scores these are."""
    before = await timed.recommender.recommend(timed.query(), PLENTY)
    await timed.serve("1.2")
    answer = await timed.recommender.recommend(timed.query(), Budget.of(0.5))
    assert [(item.item_id, item.score) for item in answer.items] == [
        (item.item_id, item.score) for item in before.items
    ]
    assert (answer.model_version, timed.served.lists[-1].model_version) == ("1.1", "1.1")


async def test_no_time_and_no_ranking_answers_by_popularity(timed: World) -> None:
    """A user that was never ranked gets what is popular, without a version."""
    answer = await timed.recommender.recommend(timed.query(), Budget.of(-1.0))
    assert (len(answer.items), answer.model_version) == (10, "")
    assert answer.degraded_reasons == (NO_TIME_FOR_USER, POPULARITY_ONLY)


async def test_what_is_skipped_for_its_cost_is_tried_again(timed: World) -> None:
    """A stall long ago must not end ranking for good: the estimate fades until it fits."""
    for _ in range(200):
        answer = await timed.recommender.recommend(timed.query(), Budget.of(150.0))
    assert answer.degraded_reasons == ()


async def test_requests_that_came_too_late_fade_nothing(timed: World) -> None:
    """They say nothing of what rankings take."""
    for _ in range(20):
        await timed.recommender.recommend(timed.query(), Budget.of(-1.0))
    assert timed.stages.short_cost.mean_s == 1.0


def test_estimate_fades_to_a_quarter_of_the_newest_duration() -> None:
    """What takes 0.1 s is never believed to fit into 0.02."""
    estimate = CostEstimate(0.1)
    for _ in range(1000):
        estimate.fade()
    assert 0.025 <= estimate.safe_s < 0.026


async def test_short_rest_of_a_ranking_gives_way_to_popularity(timed: World) -> None:
    """Nine of ten kept places are recalled only where there is no tenth item to show."""
    before = await timed.recommender.recommend(timed.query(), PLENTY)
    kept = timed.recommender._rankings._kept[("", ""), "ann", "default"]
    timed.recommender._rankings._kept[("", ""), "ann", "default"] = replace(
        kept,
        table_rows=kept.table_rows[:10],
        scores=kept.scores[:10],
        source_codes=kept.source_codes[:10],
    )
    late = Budget.of(0.5)
    whole = await timed.recommender.recommend(timed.query(), late)
    assert whole.items[0].item_id == before.items[0].item_id
    part = await timed.recommender.recommend(timed.query(exclude_item_ids=(before.items[0].item_id,)), late)
    assert (len(part.items), part.degraded_reasons) == (10, (NO_TIME_FOR_USER, POPULARITY_ONLY))
    few = await timed.recommender.recommend(timed.query(candidate_item_ids=(before.items[0].item_id,)), late)
    assert (len(few.items), few.degraded_reasons) == (1, (NO_TIME_FOR_USER, CACHED_RANKING))


async def test_worse_rankings_do_not_replace_the_kept_one(timed: World) -> None:
    """Neither a short one nor one of a user who was not read."""
    await timed.recommender.recommend(timed.query(), PLENTY)
    kept = timed.recommender._rankings._kept[("", ""), "ann", "default"]
    await timed.recommender.recommend(timed.query(), Budget.of(150.0))
    timed.rows.error = ConnectionError("refused")
    await timed.recommender.recommend(timed.query(), PLENTY)
    assert timed.recommender._rankings._kept[("", ""), "ann", "default"] is kept


async def test_recalled_ranking_is_not_drawn_for(timed: World) -> None:
    """No inputs are logged with it, so nobody would learn from the draw."""
    config = ExplorationConfig.model_validate({"policy": "epsilon", "epsilon": 1.0, "slots": [0, 1, 2]})
    timed.stages.explorer = Explorer(config, lambda: 0.99)
    drawn = await timed.recommender.recommend(timed.query(), PLENTY)
    recalled = await timed.recommender.recommend(timed.query(), Budget.of(0.5))
    assert [any(item.explored for item in answer.items) for answer in (drawn, recalled)] == [True, False]
    assert [item.propensity for item in recalled.items] == [1.0] * 10


async def test_scoring_given_items_knows_its_deadline_and_teaches_its_cost(timed: World) -> None:
    """In time it is measured for admission; too late the items come back by popularity, every one of them."""
    before_s = timed.recommender.cost_s
    scored = await timed.recommender.rank("ann", ITEM_IDS[:3], PLENTY)
    assert (scored.degraded_reasons, timed.recommender.cost_s == before_s) == ((), False)
    late = await timed.recommender.rank("ann", ITEM_IDS[:3], Budget.of(-1.0))
    assert (len(late.items), late.degraded_reasons) == (3, (NO_TIME_FOR_USER, POPULARITY_ONLY))


async def test_similar_items_know_their_deadline_and_teach_their_cost(timed: World) -> None:
    """In time they are measured for admission; too late what is popular comes, less the item itself."""
    before_s = timed.recommender.cost_s
    found = timed.recommender.similar_items(ITEM_IDS[0], 5, PLENTY)
    assert (found.degraded_reasons, timed.recommender.cost_s == before_s) == ((), False)
    late = timed.recommender.similar_items(ITEM_IDS[0], 60, Budget.of(-1.0))
    assert (late.degraded_reasons, late.model_version) == ((POPULARITY_ONLY,), "")
    assert {item.item_id for item in late.items} == set(ITEM_IDS[1:])


async def test_slow_similar_items_are_tried_again(timed: World) -> None:
    """What comparing is believed to take fades until it fits; requests that came too late fade nothing."""
    timed.recommender._similar._cost = CostEstimate(100.0)
    for _ in range(20):
        timed.recommender.similar_items(ITEM_IDS[0], 5, Budget.of(-1.0))
    assert timed.recommender._similar._cost.mean_s == 100.0
    for _ in range(200):
        answer = timed.recommender.similar_items(ITEM_IDS[0], 5, Budget.of(150.0))
    assert answer.degraded_reasons == ()


def test_one_stall_hardly_moves_an_estimate() -> None:
    """An outlier counts as at most twice the safe duration."""
    estimate = CostEstimate(0.001)
    for _ in range(100):
        estimate.add(0.001)
    estimate.add(10.0)
    assert estimate.safe_s < 0.01


def test_request_that_waited_takes_the_newer_summary(world: World) -> None:
    """Two requests in turn, one 60 ms behind, must not make it anew each; a clock set back must."""
    summaries = world.stages.catalogs._summaries
    kept = summaries.at(1_000_000)
    assert summaries.at(999_940) is kept
    assert summaries.at(900_000) is not kept


async def test_removed_item_is_gone_within_a_second_however_long_sums_take(timed: World) -> None:
    """The sums of a large catalogue are kept for longer: to make them takes a share of the time, and no more."""
    catalogs, now_ms = timed.stages.catalogs, 1_000_000
    with timed.models.take() as model:
        assert model is not None
        before = catalogs.at(model, now_ms)
        catalogs._summaries._cost_behind = CostEstimate(60.0)
        timed.items.remove_item(ITEM_IDS[7])
        assert catalogs.at(model, now_ms + 999) is before
        after = catalogs.at(model, now_ms + 1000)
        assert (after.context.lines is before.context.lines, catalogs.at(model, now_ms + 1001) is after) == (True,) * 2
        assert before.context.is_listable[7]
        assert np.flatnonzero(~after.context.is_listable).tolist() == [7]


async def test_sums_that_took_long_are_made_anew_all_the_same(timed: World) -> None:
    """Half a minute is the longest."""
    catalogs = timed.stages.catalogs
    with timed.models.take() as model:
        assert model is not None
        before = catalogs.at(model, 1_000_000)
        catalogs._summaries._cost_behind = CostEstimate(1e6)
        assert catalogs.at(model, 1_029_999).context.lines is before.context.lines
        assert catalogs.at(model, 1_030_000).context.lines is not before.context.lines


class SlowRows(FakeUserRows):
    """A store that takes its time."""

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        """Wait for good."""
        await asyncio.Event().wait()
        return {}, frozenset()


async def test_deadline_of_the_client_bounds_the_user_read(tmp_path: Path) -> None:
    """A hanging store costs what the deadline leaves beside the ranking, and the model still ranks."""
    world = World(tmp_path, ServingConfig(feature_read_ms=60_000, deadline_ms=60_000))
    world.users._rows = SlowRows()
    await world.serve("1.1")
    await world.recommender.rank("ann", ITEM_IDS[:2], Budget.of(0.01))
    world.stages.cost = CostEstimate(0.4)  # Machines are busy: 1.2 s are kept for the ranking.
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"), timeout=5)
    assert (reply.model_version, list(reply.degraded_reasons)) == ("1.1", ["no_time_for_user"])
    await world.models.stop()


async def test_call_without_a_deadline_has_the_configured_one(tmp_path: Path) -> None:
    """A hanging store is not waited for longer than `deadline_ms`."""
    world = World(tmp_path, ServingConfig(feature_read_ms=60_000, deadline_ms=300))
    world.users._rows = SlowRows()
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        async with asyncio.timeout(30):
            reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"))
    assert len(reply.items) == 10
    await world.models.stop()
