"""Laws of errors on their way to callers; `test_servicer.py` and `test_security_guard.py` hold codes and texts."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from features.security.config import LimitsConfig
from features.security.role import Role
from features.security.token_file import Tokens
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.call_errors import answers_errors
from serving.config import ServingConfig
from serving.edge import Edge
from serving.security.token_keeper import TokenKeeper
from serving.servicer import RecommenderServicer
from tests.serving.serving_parts import APP, PATIENT, World
from tests.serving.test_admission import GatedRows

CALLS = 4 * LimitsConfig().concurrent_streams
"""More than a connection may have at once, several times over."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Keep Python's collector of cycles away, as a server that is busy with refusals hardly sees it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def code_of(call: Awaitable[Any]) -> str:
    """Return what a call ended with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


@asynccontextmanager
async def stub_of(edge: Edge, world: World) -> AsyncIterator[Any]:
    """Run a server with the shipped bounds, and hold one connection to it."""
    server = edge.make_server()
    servicer = RecommenderServicer(world.recommender, APP, world.config, world.admission)
    serving_pb2_grpc.add_RecommenderServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    address = edge.listen(server, "127.0.0.1:0", "--listen", Role.RECOMMEND)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
    finally:
        await server.stop(0)


async def codes_of_many(stub: Any, request: pb.RecommendRequest) -> set[str]:
    """Make calls over one connection, twenty at a time, and return what they ended with."""
    return {
        code
        for _ in range(CALLS // 20)
        for code in await asyncio.gather(*(code_of(stub.Recommend(request)) for _ in range(20)))
    }


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(("user_id", "code"), [("ann", "RESOURCE_EXHAUSTED"), ("", "INVALID_ARGUMENT")])
async def test_refused_calls_leave_their_connection_usable(tmp_path: Path, user_id: str, code: str) -> None:
    """Each is told why; of a connection that holds a hundred ended calls gRPC refuses all others."""
    world = World(tmp_path, ServingConfig(overload={"max_in_flight": 1}))
    world.admission.in_flight = int(code == "RESOURCE_EXHAUSTED")
    async with stub_of(Edge(world.config, Tokens(tmp_path / "tokens.json")), world) as stub:
        assert await codes_of_many(stub, pb.RecommendRequest(user_id=user_id)) == {code}


@pytest.mark.usefixtures("no_collector")
async def test_strangers_leave_their_connection_usable(tmp_path: Path) -> None:
    """Somebody who forgot the token hears so each time."""
    TokenKeeper(tmp_path / "tokens.json").create("shop", Role.RECOMMEND)
    world = World(tmp_path, PATIENT)
    async with stub_of(Edge(world.config, Tokens(tmp_path / "tokens.json")), world) as stub:
        assert await codes_of_many(stub, pb.RecommendRequest(user_id="ann")) == {"UNAUTHENTICATED"}


@pytest.mark.usefixtures("no_collector")
async def test_callers_who_hang_up_leave_their_connection_usable(tmp_path: Path) -> None:
    """Calls that are given up while a store is slow are no reason to refuse what comes behind."""
    world = World(tmp_path, ServingConfig(deadline_ms=60_000, feature_read_ms=60_000))
    rows = world.users._rows = GatedRows()
    await world.serve("1.1")
    async with stub_of(Edge(world.config, Tokens(tmp_path / "tokens.json")), world) as stub, asyncio.timeout(120):
        for _ in range(CALLS // 20):
            calls = [stub.Recommend(pb.RecommendRequest(user_id="ann")) for _ in range(20)]
            while world.admission.in_flight < 20:
                await asyncio.sleep(0.001)
            for call in calls:
                call.cancel()
            while world.admission.in_flight:
                await asyncio.sleep(0.001)
        rows.gate.set()
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"))
    assert len(reply.items) == 10
    await world.models.stop()


class SilentCall:
    """A call that notes what its status would be."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def set_code(self, code: grpc.StatusCode) -> None:
        """Note the code."""
        self.told.append(code.name)

    def set_details(self, sentence: str) -> None:
        """Note the sentence."""
        self.told.append(sentence)


async def test_cancelled_handlers_stay_cancelled() -> None:
    """GRPC ends them itself: there is nobody to tell."""

    @answers_errors
    async def handler(_servicer: Any, _request: Any, _context: Any) -> Any:
        raise asyncio.CancelledError

    call = SilentCall()
    with pytest.raises(asyncio.CancelledError):
        await handler(None, None, call)
    assert call.told == []
