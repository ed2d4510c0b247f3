"""Laws of starting, health and addresses."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from features.config import ConfigError, Endpoints, validate
from features.errors import StartupError
from features.security.listening import checked_address
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.config import ServingConfig
from serving.connections import Connections
from serving.health import ANY_QUALITY, FULL_QUALITY, Health
from serving.server import Server
from serving.server_settings import ServerSettings
from serving.user_rows import RedisUserRows
from tests.fakes import FakeBroker, FakeProducer
from tests.serving.serving_parts import APP, World

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def settings_for(directory: Path, address: str = "127.0.0.1:0", admin_address: str = "") -> ServerSettings:
    """Return settings with Kafka and Redis dead."""
    dead = "127.0.0.1:1"
    endpoints = Endpoints(kafka=dead, redis=dead, model_store=str(directory / "models"), state=str(directory))
    return ServerSettings(APP, ServingConfig(catch_up_s=0.1), endpoints, address, admin_address)


def make_server(settings: ServerSettings) -> Server:
    """Return a server whose Kafka and Redis are dead."""
    broker = FakeBroker(())
    broker.is_dead = True
    user_rows = RedisUserRows(settings.endpoints, APP)
    return Server(settings, Connections(user_rows, broker.connect, FakeProducer))


@pytest.mark.parametrize("address", ["50051", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80"])
def test_address_without_host_or_port_is_refused(address: str) -> None:
    """The sentence shows what to write."""
    with pytest.raises(StartupError, match=r"write for example 127\.0\.0\.1:50051"):
        checked_address(address, "--address")


def test_unknown_key_in_the_section_is_refused_with_the_nearest_name() -> None:
    """A typo is told, not ignored."""
    with pytest.raises(ConfigError, match="did you mean 'feature_read_ms'"):
        validate({"feature_reads_ms": 3}, ServingConfig, "serving")


async def test_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    """Two servers never share a port by surprise."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartupError, match="cannot listen on"):
            make_server(settings_for(tmp_path, f"127.0.0.1:{taken.getsockname()[1]}"))


async def test_server_with_everything_dead_serves_the_last_good_version(world: World) -> None:
    """Kafka and Redis dead: the version on disk answers, flagged; health says so; the status file tells."""
    world.write("1.1")
    server = make_server(settings_for(world.directory, admin_address="127.0.0.1:0"))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            states = [
                (await health.Check(health_pb2.HealthCheckRequest(service=name))).status
                for name in (ANY_QUALITY, FULL_QUALITY)
            ]
            stub: Any = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
            reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"), timeout=1)
        await asyncio.sleep(0)
    finally:
        await server.stop()
    assert states == [SERVING, NOT_SERVING]
    assert (len(reply.items), reply.model_version) == (10, "1.1")
    assert list(reply.degraded_reasons) == ["feature_store_unavailable", "items_not_current"]
    status = json.loads((world.directory / "serving.json").read_text())
    assert (status["address"], status["model_version"], status["is_following"]) == (server.address, "1.1", True)


class HangingUserRows(RedisUserRows):
    """User rows that never come."""

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        """Wait for good."""
        await asyncio.Event().wait()
        return {}, frozenset()


async def test_full_server_still_tells_its_health(world: World) -> None:
    """Every place is taken, three times as many calls knock: health and admin have places of their own."""
    world.write("1.1")
    settings = settings_for(world.directory, admin_address="127.0.0.1:0")
    busy = ServingConfig(catch_up_s=0.1, deadline_ms=60_000, feature_read_ms=60_000)
    settings = dataclasses.replace(settings, serving=busy)
    broker = FakeBroker(())
    broker.is_dead = True
    rows = HangingUserRows(settings.endpoints, APP)
    server = Server(settings, Connections(rows, broker.connect, FakeProducer))
    await server.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            calls = []
            for number in range(3):  # One connection has 100 calls at most; a pool of its own makes each channel one.
                options = [("grpc.use_local_subchannel_pool", 1), ("test.number", number)]
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address, options=options))
                stub: Any = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
                calls += [stub.Recommend(pb.RecommendRequest(user_id="ann")) for _ in range(64)]
            async with asyncio.timeout(60):
                while server.admission.in_flight < 64 or server.admission.refused["busy"] < 2 * 64:
                    await asyncio.sleep(0.01)
            health = health_pb2_grpc.HealthStub(channel)
            reply = await health.Check(health_pb2.HealthCheckRequest(service=ANY_QUALITY))
            for call in calls:
                call.cancel()
    finally:
        await server.stop()
    assert reply.status == SERVING


async def test_health_is_not_serving_before_draining() -> None:
    """After drain both names say NOT_SERVING for good."""
    health = Health()
    await health.start()
    await health.can_answer()
    await health.set_full(True)
    await health.drain()
    await health.can_answer()
    for name in (ANY_QUALITY, FULL_QUALITY):
        reply = await health.servicer.Check(health_pb2.HealthCheckRequest(service=name), None)
        assert reply.status == NOT_SERVING
