"""Laws of time: what does not fit is cut and named, step by step down the ladder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import pytest

from protos import serving_pb2 as pb
from serving.answers import CACHED_RANKING, FEWER_CANDIDATES, NO_TIME_FOR_USER, POPULARITY_ONLY
from serving.budget import Budget, CostEstimate
from serving.config import ServingConfig
from tests.serving.serving_parts import ITEM_IDS, FakeUserRows, World

PLENTY = Budget.of(1e6)


@pytest.fixture
async def timed(world: World) -> World:
    """A world that believes a full ranking to take 100 s and a short one 1 s."""
    await world.serve("1.1")
    world.recommender._cost, world.recommender._short_cost = CostEstimate(100.0), CostEstimate(1.0)
    return world


async def test_time_for_everything_cuts_nothing(timed: World) -> None:
    """No reason, and the ranker saw all candidates."""
    answer = await timed.recommender.recommend(timed.query(num_items=60), PLENTY)
    assert (len(answer.items), answer.degraded_reasons) == (60, ())


async def test_little_time_ranks_fewer_candidates(timed: World) -> None:
    """The list is full, by the model, and says why it is worse."""
    answer = await timed.recommender.recommend(timed.query(), Budget.of(150.0))
    assert (len(answer.items), answer.model_version, answer.degraded_reasons) == (10, "1.1", (FEWER_CANDIDATES,))
    assert len(timed.served.lists[0].rows) == 10


async def test_no_time_to_rank_recalls_the_last_ranking_less_what_is_gone(timed: World) -> None:
    """Consumed, removed and excluded items are not recalled; no inputs are logged with what was not ranked now."""
    before = await timed.recommender.recommend(timed.query(), PLENTY)
    ids = [item.item_id for item in before.items]
    timed.items.remove_item(ids[0])
    timed.recommender._catalogs._summaries._kept = None  # As if the catalog's time were up.
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
    assert [(item.item_id, item.score) for item in answer.items] == [(item.item_id, item.score) for item in before.items]
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


def test_one_stall_hardly_moves_an_estimate() -> None:
    """An outlier counts as at most twice the safe duration."""
    estimate = CostEstimate(0.001)
    for _ in range(100):
        estimate.add(0.001)
    estimate.add(10.0)
    assert estimate.safe_s < 0.01


def test_request_that_waited_takes_the_newer_summary(world: World) -> None:
    """Two requests in turn, one 60 ms behind, must not make it anew each; a clock set back must."""
    summaries = world.recommender._catalogs._summaries
    kept = summaries.at(1_000_000)
    assert summaries.at(999_940) is kept
    assert summaries.at(900_000) is not kept


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
    world.recommender._cost = CostEstimate(0.4)  # Machines are busy: 1.2 s are kept for the ranking.
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
        reply = await asyncio.wait_for(stub.Recommend(pb.RecommendRequest(user_id="ann")), 30)
    assert len(reply.items) == 10
    await world.models.stop()
