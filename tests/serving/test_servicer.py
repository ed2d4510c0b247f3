"""Laws of the `Recommender` service, over a real gRPC server."""

from __future__ import annotations

import time

import grpc
import pytest

from protos import serving_pb2 as pb
from serving import errors
from serving.call_errors import STATUS_OF
from tests.features.feature_records import counted
from tests.serving.serving_parts import ITEM_IDS, SCORE_STEP, World, make_version
from trainer.version_files import write_version


def leaves(error: type[Exception]) -> list[type[Exception]]:
    """Return the classes below `error` that have none below themselves."""
    below = error.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [error]


def test_every_call_error_has_a_status_code() -> None:
    """The one table holds every error that can answer a call."""
    assert set(STATUS_OF) == set(leaves(errors.CallError))


async def test_unknown_user_gets_a_full_answer_of_the_model(world: World) -> None:
    """Nothing known of a user is a normal answer, not a degraded one."""
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="nobody"))
    assert (len(reply.items), reply.model_version, list(reply.degraded_reasons)) == (10, "1.1", [])


async def test_missing_model_is_answered_by_popularity(world: World) -> None:
    """Before the first version the most popular items are served and the reason is named."""
    now_ms = time.time_ns() // 1_000_000
    for item_id, outcome in (("quiet", 0), ("loved", 1)):
        world.items.add_event(world.items.ensure_row(item_id), counted(item_id, now_ms), outcome)
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"))
    assert [item.item_id for item in reply.items] == ["loved", "quiet"]
    assert (reply.model_version, list(reply.degraded_reasons)) == ("", ["no_model"])


async def test_version_without_items_is_answered_by_popularity(world: World) -> None:
    """A trainer's very first version knows no item; what is popular is served meanwhile."""
    write_version(world.store_dir, make_version("1.0", ()))
    await world.models.load("1.0")
    world.items.ensure_row("loved")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"))
    assert [item.item_id for item in reply.items] == ["loved"]
    assert (reply.model_version, list(reply.degraded_reasons)) == ("", ["no_model"])


async def test_list_holds_each_item_once_best_first(world: World) -> None:
    """Positions count from 0, scores fall, no item repeats."""
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=50))
    scores = [item.score for item in reply.items]
    assert [item.position for item in reply.items] == list(range(50))
    assert scores == sorted(scores, reverse=True)
    assert len({item.item_id for item in reply.items}) == 50


async def test_consumed_unavailable_and_excluded_items_are_left_out(world: World) -> None:
    """A long list holds every item but those."""
    await world.serve("1.1")
    world.rows.consumed["ann"] = frozenset({ITEM_IDS[0]})
    world.items.remove_item(ITEM_IDS[1])
    request = pb.RecommendRequest(user_id="ann", num_items=500, exclude_item_ids=[ITEM_IDS[2], "no-such-item"])
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(request)
    assert {item.item_id for item in reply.items} == set(ITEM_IDS[3:])


async def test_category_filter_keeps_items_with_any_of_the_categories(world: World) -> None:
    """Items without a wanted category are left out; an unknown category has none."""
    await world.serve("1.1")
    world.items.set_item(ITEM_IDS[4], ["drama"])
    world.items.set_item(ITEM_IDS[5], ["war", "comedy"])
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", category_filter=["war", "drama", "none"]))
    assert {item.item_id for item in reply.items} == {ITEM_IDS[4], ITEM_IDS[5]}


async def test_given_candidates_are_the_only_ones(world: World) -> None:
    """Candidates the version does not know, and repeated ones, do not show."""
    await world.serve("1.1")
    given = [ITEM_IDS[9], ITEM_IDS[3], ITEM_IDS[9], "no-such-item"]
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", candidate_item_ids=given))
    assert {(item.item_id, item.source) for item in reply.items} == {(ITEM_IDS[9], "given"), (ITEM_IDS[3], "given")}
    assert len(reply.items) == 2


async def test_rank_scores_consumed_items_and_puts_unknown_ones_last(world: World) -> None:
    """Rank returns every item it was asked for, once."""
    await world.serve("1.1")
    world.rows.consumed["ann"] = frozenset({ITEM_IDS[0]})
    async with world.recommender_stub() as stub:
        reply = await stub.Rank(pb.RankRequest(user_id="ann", item_ids=["unknown", ITEM_IDS[0], ITEM_IDS[1]]))
    assert {item.item_id for item in reply.items} == {"unknown", ITEM_IDS[0], ITEM_IDS[1]}
    assert (reply.items[-1].item_id, reply.model_version) == ("unknown", "1.1")


async def test_similar_items_leave_the_item_itself_out(world: World) -> None:
    """The nearest are other items; an unknown item is answered by popularity with a reason."""
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        known = await stub.SimilarItems(pb.SimilarItemsRequest(item_id=ITEM_IDS[7], num_items=5))
        unknown = await stub.SimilarItems(pb.SimilarItemsRequest(item_id="no-such-item"))
    assert len(known.items) == 5
    assert ITEM_IDS[7] not in {item.item_id for item in known.items}
    assert (len(unknown.items), list(unknown.degraded_reasons)) == (10, ["unknown_item"])


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (pb.RecommendRequest(user_id=""), "user_id has 0 bytes; send 1 to 128"),
        (pb.RecommendRequest(user_id="x" * 129), "user_id has 129 bytes"),
        (pb.RecommendRequest(user_id="a\nb"), "control characters"),
        (pb.RecommendRequest(user_id="a\x85b"), "control characters"),
        (pb.RecommendRequest(user_id="ann", num_items=501), "num_items is 501; send 1 to 500"),
        (pb.RecommendRequest(user_id="ann", num_items=-1), "num_items is -1"),
        (pb.RecommendRequest(user_id="ann", surface="prob"), "did you mean 'probe'"),
        (pb.RecommendRequest(user_id="ann", candidate_item_ids=["i"] * 2001), "2001 entries; send at most 2000"),
        (pb.RecommendRequest(user_id="ann", exclude_item_ids=[""]), "exclude_item_ids has 0 bytes"),
        (pb.RecommendRequest(user_id="ann", context={"k": "v" * 257}), "at most 256"),
    ],
)
async def test_values_out_of_bounds_are_refused_by_name(
    world: World, request_: pb.RecommendRequest, names: str
) -> None:
    """The answer is INVALID_ARGUMENT and names value, bound and fix."""
    async with world.recommender_stub() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Recommend(request_)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert names in (caught.value.details() or "")


async def test_model_that_fails_to_rank_is_replaced_by_popularity(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks inside a model, the caller gets a list and the reason."""
    await world.serve("1.1")
    assert world.models.live is not None
    monkeypatch.setattr(type(world.models.live), "rank", lambda self, inputs: 1 / 0)
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"))
    assert (len(reply.items), reply.model_version, list(reply.degraded_reasons)) == (10, "", ["ranker_failed"])


async def test_served_lists_are_logged_with_what_the_ranker_saw(world: World) -> None:
    """The log has the surface's learn flag and one row of inputs per shown item."""
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", surface="probe", num_items=3))
        await stub.Rank(pb.RankRequest(user_id="ann", item_ids=[ITEM_IDS[0]]))
    (served,) = world.served.lists
    assert (served.request_id, served.learn, served.model_version) == (reply.request_id, False, "1.1")
    assert [item.item_id for item in served.items] == [item.item_id for item in reply.items]
    assert world.models.live is not None
    assert world.models.live.rank(served.rows).tolist() == pytest.approx([item.score for item in reply.items])


async def test_scores_name_their_version(world: World) -> None:
    """The tests' versions can be told by their scores."""
    await world.serve("1.1", "1.2")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"))
    assert {round(item.score / SCORE_STEP) for item in reply.items} == {2}
