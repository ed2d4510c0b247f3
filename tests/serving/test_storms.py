"""Callers who ask for too much at once: reload storms and cancelled calls leave nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from protos import serving_pb2 as pb
from serving.config import ServingConfig
from serving.model_builder import ModelBuilder
from tests.serving.serving_parts import World
from tests.serving.test_admin import AUTHORISED

CALLERS, RELOADS = 32, 8
CANCELS = 2_000


async def test_a_storm_of_reloads_shares_its_loads_and_fails_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every caller hears of the version that serves; who waits shares the next load with all others that wait."""
    await world.serve("1.1")
    world.models.announce([world.write("1.2")])
    real, built = ModelBuilder.snapshot, []

    def build(builder: ModelBuilder, version: str, manifest_sha256: str | None = None) -> Any:
        built.append(version)
        return real(builder, version, manifest_sha256)

    monkeypatch.setattr(ModelBuilder, "snapshot", build)
    async with world.admin_stub() as stub:
        calls = [
            stub.ReloadModel(pb.ReloadModelRequest(idempotency_key=f"k{number}"), metadata=AUTHORISED)
            for number in range(CALLERS * RELOADS)
        ]
        replies = await asyncio.gather(*calls)
    assert {reply.status.version for reply in replies} == {"1.2"}
    assert {*built} == {"1.2"}
    assert len(built) <= CALLERS


async def test_cancelled_calls_leave_no_place_taken(tmp_path: Path) -> None:
    """Whenever they are cancelled: on their way, in work, or answered already; who asks then is answered."""
    world = World(tmp_path, ServingConfig(overload={"max_in_flight": 64}))
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        for turn in range(CANCELS // 50):
            calls = [stub.Recommend(pb.RecommendRequest(user_id="ann")) for _ in range(50)]
            for _ in range(turn % 5):
                await asyncio.sleep(0)
            for call in calls:
                call.cancel()
        async with asyncio.timeout(60):
            while world.admission.in_flight:
                await asyncio.sleep(0.01)
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"), wait_for_ready=True)
    assert len(reply.items) == 10
    await world.models.stop()
