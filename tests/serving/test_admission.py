"""Laws of refusing: early, by priority, with a hint when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import serving_pb2 as pb
from serving.admission import Admission
from serving.budget import Budget
from serving.call_errors import RETRY_KEY
from serving.config import OverloadConfig, ServingConfig
from serving.errors import OverloadedError, QuotaError
from serving.quota import Quota
from serving.servicer import RecommenderServicer
from tests.serving.serving_parts import APP, FakeUserRows, World

LONG = Budget.of(1e6)


class GatedRows(FakeUserRows):
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        """Wait for the gate."""
        self.reads += 1
        await self.gate.wait()
        return {}, frozenset()


def admitted(admission: Admission, *, is_prefetch: bool = False, budget: Budget = LONG, at_most: int = 50) -> int:
    """Return how many requests are let in one after the other, none of which ends."""
    with ExitStack() as stack:
        for number in range(at_most):
            try:
                stack.enter_context(admission.admit("", is_prefetch, budget))
            except OverloadedError:
                return number
    return at_most


def test_places_are_bounded_and_prefetches_get_fewer() -> None:
    """A refused one takes no place; all places are free again afterwards."""
    admission = Admission(OverloadConfig(max_in_flight=8, prefetch_share=0.5), 1, lambda: 0.0)
    assert (admitted(admission), admitted(admission, is_prefetch=True)) == (8, 4)
    assert (admission.in_flight, admission.refused["busy"], admission.refused["prefetch"]) == (0, 1, 1)


def test_what_would_wait_too_long_is_refused() -> None:
    """At 10 ms each, half of a deadline of 100 ms is 5 requests; half of that for prefetches; two are always let in."""
    admission = Admission(OverloadConfig(busy_share=0.5), 2, lambda: 0.010)
    clock_s = 0.0
    budget = Budget(0.1, lambda: clock_s)
    assert admitted(admission, budget=budget) == 6
    assert admitted(admission, is_prefetch=True, budget=budget) == 3
    assert admitted(admission, budget=Budget(0.0, lambda: clock_s)) == 2


def test_used_up_quota_is_told_with_the_time_to_wait() -> None:
    """The sentence names the quota; nothing is counted as in work."""
    admission = Admission(OverloadConfig(), 1, lambda: 0.0, Quota(2.0, 0.5, clock_s=lambda: 0.0))
    with admission.admit("t", False, LONG):
        pass
    with pytest.raises(QuotaError, match="come again in 500 ms") as caught, admission.admit("t", False, LONG):
        pass
    assert (caught.value.retry_ms, admission.in_flight, admission.refused["quota"]) == (501, 0, 1)


def test_refusal_as_busy_costs_no_quota() -> None:
    """The one request of the bucket is still there when a place is free."""
    admission = Admission(OverloadConfig(max_in_flight=1), 1, lambda: 0.0, Quota(1.0, 1.0, clock_s=lambda: 0.0))
    with admission.admit("other", False, LONG), pytest.raises(OverloadedError), admission.admit("t", False, LONG):
        pass
    with admission.admit("t", False, LONG):
        assert admission.in_flight == 1


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Recommend", pb.RecommendRequest(user_id="")),
        ("Rank", pb.RankRequest(user_id="")),
        ("SimilarItems", pb.SimilarItemsRequest(item_id="")),
    ],
)
async def test_full_server_refuses_before_it_looks_at_a_request(tmp_path: Path, method: str, request_: Any) -> None:
    """Two thousand ids are not checked for an answer that does not come."""
    world = World(tmp_path, ServingConfig(overload={"max_in_flight": 1}))
    with world.admission.admit("", False, LONG):
        async with world.recommender_stub() as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await getattr(stub, method)(request_)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_full_server_refuses_at_at_once_with_a_hint(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED and when to come again; who is in work is answered all the same."""
    world = World(tmp_path, ServingConfig(deadline_ms=60_000, feature_read_ms=60_000, overload={"max_in_flight": 2}))
    rows = world.users._rows = GatedRows()
    await world.serve("1.1")
    request = pb.RecommendRequest(user_id="ann")
    async with world.recommender_stub() as stub:
        working = [asyncio.ensure_future(stub.Recommend(request)) for _ in range(2)]
        async with asyncio.timeout(30):
            while rows.reads < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Recommend(request)
        rows.gate.set()
        replies = await asyncio.gather(*working)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (RETRY_KEY, "50") in tuple(caught.value.trailing_metadata() or ())
    assert [len(reply.items) for reply in replies] == [10, 10]
    await world.models.stop()


async def test_caller_that_hangs_up_frees_its_place(tmp_path: Path) -> None:
    """Cancelled calls leave no place taken."""
    world = World(tmp_path, ServingConfig(deadline_ms=60_000, feature_read_ms=60_000))
    rows = world.users._rows = GatedRows()
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        calls = [stub.Recommend(pb.RecommendRequest(user_id="ann")) for _ in range(20)]
        async with asyncio.timeout(30):
            while world.admission.in_flight < 20:
                await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            while world.admission.in_flight:
                await asyncio.sleep(0.01)
    assert rows.reads > 0
    await world.models.stop()


async def test_prefetch_is_refused_before_interactive(tmp_path: Path) -> None:
    """The request's priority decides."""
    overload = OverloadConfig(max_in_flight=2, prefetch_share=0.5)
    world = World(tmp_path, ServingConfig(deadline_ms=60_000, overload=overload))
    await world.serve("1.1")
    prefetch = pb.RecommendRequest(user_id="ann", priority=pb.PRIORITY_PREFETCH)
    with world.admission.admit("", False, LONG):
        async with world.recommender_stub() as stub:
            assert len((await stub.Recommend(pb.RecommendRequest(user_id="ann"))).items) == 10
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Recommend(prefetch)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    await world.models.stop()


class GoneCall:
    """A call whose client has given up."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None

    def time_remaining(self) -> float:
        """Return what is left of its deadline."""
        return -0.01

    def set_code(self, code: grpc.StatusCode) -> None:
        """Take how it ends."""
        self.code = code

    def set_details(self, _sentence: str) -> None:
        """Take the reason."""

    def set_trailing_metadata(self, _metadata: object) -> None:
        """Take when to come again."""


async def test_request_whose_deadline_is_over_is_refused(world: World) -> None:
    """Nobody hears the answer, and work for it would make others late."""
    call = GoneCall()
    servicer = RecommenderServicer(world.recommender, APP, world.config, world.admission)
    assert await servicer.Recommend(pb.RecommendRequest(user_id="ann"), call) is None
    told = call.code, world.admission.refused["late"], world.times.requests
    assert told == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1, 0)
