"""Laws of canaries: served beside the live version, ended by what users meet or by an order, never left half-way."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest
import pytest_asyncio

from protos import serving_pb2 as pb
from serving.answers import RecommendQuery
from serving.arms.feedback import SAMPLES_TOPIC
from serving.config import CanaryConfig, ServingConfig
from serving.errors import CanaryError, VersionUnknownError
from serving.version_records import VersionState
from tests.serving.serving_parts import PATIENT, World, make_version
from tests.serving.test_admin import AUTHORISED, code_of
from tests.serving.test_delta_following import Chained, chained, check_answers, serves, until, version_of
from tests.serving.version_chain import end_of, put
from trainer.model import Model
from trainer.model_version import pinned_versions
from trainer.version_files import Version, write_version

__all__ = ["chained"]

USERS = [f"user-{number}" for number in range(200)]


def quick(**changes: Any) -> ServingConfig:
    """Return a patient server that looks often and needs few users."""
    canary = CanaryConfig(check_s=0.01, min_users=20, level=0.2, latency_ratio=100.0).model_copy(update=changes)
    return PATIENT.model_copy(update={"canary": canary})


@pytest_asyncio.fixture
async def judged(tmp_path: Path) -> AsyncIterator[World]:
    """A world that serves 1.1 and keeps 1.2 and 1.3, whose canaries are judged by few users."""
    world = World(tmp_path, quick())
    await world.serve("1.1")
    for name in ("1.2", "1.3"):
        write_version(world.store_dir, make_version(name))
    yield world
    await world.canaries.close()
    await world.models.stop()


def failing_version(name: str) -> Version:
    """Return a version that passes its canary and fails on what users bring: weights near the end of their type."""
    version = make_version(name)
    dense = version.dense
    for weight in ("ranker.skip_scale", "ranker.linear.weight"):
        dense[weight][:] = 3e38
    inputs = np.zeros_like(version.canary_inputs)
    scores = tuple(Model.from_dense(dense).rank(inputs).tolist())
    manifest = msgspec.structs.replace(version.manifest, canary_scores=scores)
    return dataclasses.replace(version, manifest=manifest, canary_inputs=inputs)


async def ask_all(world: World, users: list[str] = USERS) -> dict[str, set[str]]:
    """Let every user ask once; return arm -> versions of the answers."""
    seen: dict[str, set[str]] = {}
    for user in users:
        answer = await world.recommender.recommend(RecommendQuery(user, 3))
        seen.setdefault(answer.arm, set()).add(answer.model_version)
        await asyncio.sleep(0)
    return seen


async def test_fall_of_reward_rolls_back_end_to_end(judged: World) -> None:
    """Ordered over gRPC, judged by feedback from Kafka: users of the canary click nothing, so it goes, and says why."""
    order = pb.LoadModelRequest(idempotency_key="c", version="1.2", canary_share=0.5)
    async with judged.admin_stub() as admin, judged.recommender_stub() as stub:
        begun = await admin.LoadModel(order, metadata=AUTHORISED)
        assert (begun.status.version, begun.status.is_live) == ("1.2", False)
        answers = [await stub.Recommend(pb.RecommendRequest(user_id=user, num_items=3)) for user in USERS]
        assert {(one.arm, one.model_version) for one in answers} == {("stable", "1.1"), ("canary", "1.2")}
        status = await admin.GetModelStatus(pb.GetModelStatusRequest(), metadata=AUTHORISED)
        assert (status.canary.version, status.canary.live_version, status.canary.share) == ("1.2", "1.1", 0.5)
        for number, one in enumerate(answers):
            if one.arm == "stable" and number % 10:
                record = {"kind": "correction", "request_id": one.request_id, "event_id": one.request_id}
                record |= {"action": "click", "outcome": 1, "user_id": USERS[number]}
                judged.broker.append(SAMPLES_TOPIC, b"", json.dumps(record).encode())
        await until(lambda: not judged.canaries.is_running)
        status = await admin.GetModelStatus(pb.GetModelStatusRequest(), metadata=AUTHORISED)
        listed = await admin.ListModels(pb.ListModelsRequest(), metadata=AUTHORISED)
        again = [await stub.Recommend(pb.RecommendRequest(user_id=user)) for user in USERS[:30]]
    assert "rolled back" in status.last_canary
    assert "reward a list is 0.0000" in status.last_canary
    assert (status.live.version, status.is_following, status.HasField("canary")) == ("1.1", False, False)
    assert "reward a list" in status.follow_reason
    states = {one.version: (one.state, one.reason) for one in listed.versions}
    assert states["1.2"] == (pb.MODEL_STATE_REJECTED, status.last_canary)
    assert {(one.arm, one.model_version) for one in again} == {("", "1.1")}
    metrics = {(s.name, *s.labels.values()): s.value for m in judged.canaries.collect() for s in m.samples}
    assert metrics["headrace_serving_canaries_total", "rolled_back"] == 1
    assert metrics["headrace_serving_canary_share",] == 0


async def test_version_that_fails_goes_after_few_users(judged: World) -> None:
    """They got lists of the fallback; what serves behind it is the live version alone."""
    write_version(judged.store_dir, failing_version("1.4"))
    await judged.canaries.begin("1.4", 0.2)
    for user in USERS:
        answer = await judged.recommender.recommend(RecommendQuery(user, 3))
        assert answer.model_version == {"stable": "1.1", "canary": "", "": "1.1"}[answer.arm]
        await asyncio.sleep(0.002)
    await until(lambda: not judged.canaries.is_running)
    assert "got a list that the model failed to rank" in judged.canaries.last_end
    assert judged.models.records.status_of("1.4").state is VersionState.REJECTED
    assert await ask_all(judged) == {"": {"1.1"}}


async def test_canary_without_a_fall_takes_over_and_following_goes_on(tmp_path: Path) -> None:
    """After its time, once enough users met it; both snapshots are kept meanwhile, and need not be any longer."""
    world = World(tmp_path, quick(duration_s=0.0))
    await world.serve("1.1")
    write_version(world.store_dir, make_version("1.2"))
    await world.canaries.begin("1.2", 0.5)
    assert [str(version) for version in pinned_versions(world.store_dir)] == ["1.1", "1.2"]
    await asyncio.sleep(0.05)
    assert world.canaries.is_running  # Nobody asked yet.
    await ask_all(world)
    await until(lambda: version_of(world) == "1.2")
    await until(lambda: not world.canaries.is_running)
    assert (world.models.order, await ask_all(world)) == (None, {"": {"1.2"}})
    assert pinned_versions(world.store_dir) == []
    assert "promoted" in world.models.records.status_of("1.2").reason
    await world.models.stop()


@pytest.mark.parametrize("is_promoted", [True, False])
async def test_pin_before_a_canary_is_a_pin_behind_it(judged: World, is_promoted: bool) -> None:
    """At the canary where it took over, else where it was."""
    await judged.models.pin()
    await judged.canaries.begin("1.2", 0.5)
    await (judged.canaries.promote("test") if is_promoted else judged.canaries.stop("test", stays=True))
    order = judged.models.order
    assert order is not None
    assert (order.order, order.version, version_of(judged)) == ("pin", *["1.2" if is_promoted else "1.1"] * 2)
    assert [str(version) for version in pinned_versions(judged.store_dir)] == [order.version] or is_promoted


async def test_live_version_and_canary_stay_while_deltas_wait(chained: Chained) -> None:
    """Deltas go on behind the one that was promoted; a request that holds it meanwhile reads no other version."""
    world, chain = chained
    for _ in range(3):
        put(world, chain.step())
    await serves(world, "1.4")
    chain.write_snapshot(end_of(world))
    await world.models.load("1.1")
    await world.canaries.begin("1.4", 0.5)
    await asyncio.sleep(0.05)
    assert world.models.order is not None
    put(world, chain.step())
    live = version_of(world)
    await asyncio.sleep(0.05)
    assert (version_of(world), world.canaries.is_running) == (live, True)
    held = world.arms.running
    assert held is not None
    with held.arms["canary"].models.take() as model:
        assert model is not None
        before = model.user_embedding.copy()  # Deltas write into it in place; what grows is copied anyway.
        await world.canaries.promote("test")
        for _ in range(3):
            put(world, chain.step())
            await serves(world, str(chain.version))
        np.testing.assert_array_equal(model.user_embedding, before)
    await check_answers(world, "1.8")


@pytest.mark.parametrize(
    ("method", "request_type", "version", "live", "order"),
    [
        ("RollbackModel", pb.RollbackModelRequest, "", "1.2", "rollback"),
        ("PinModel", pb.PinModelRequest, "", "1.2", "pin"),
        ("LoadModel", pb.LoadModelRequest, "1.1", "1.1", ""),
        ("LoadModel", pb.LoadModelRequest, "1.3", "1.3", ""),
        ("RollbackModel", pb.RollbackModelRequest, "1.1", "1.1", "rollback"),
    ],
)
async def test_any_order_ends_the_canary(
    judged: World, method: str, request_type: Any, version: str, live: str, order: str
) -> None:
    """1.2 is live, 1.3 its canary: a bare rollback stays, the canary's own load promotes it."""
    await judged.models.load("1.2")
    await judged.canaries.begin("1.3", 0.5)
    request = request_type(idempotency_key="o", **({"version": version} if version else {}))
    async with judged.admin_stub() as admin:
        reply = await getattr(admin, method)(request, metadata=AUTHORISED)
    standing = judged.models.order
    assert (reply.status.version, version_of(judged)) == (live, live)
    assert ("" if standing is None else standing.order) == order
    assert (judged.canaries.is_running, await ask_all(judged, USERS[:5])) == (False, {"": {live}})


async def test_restart_during_a_canary_stays_at_the_live_version(judged: World) -> None:
    """What may have ended the server is not picked up; `unpin` follows again, beyond it."""
    await judged.canaries.begin("1.2", 0.5)
    await judged.canaries.close()
    restarted = World(judged.directory)
    await restarted.models.start(3)
    order = restarted.models.order
    assert order is not None
    assert (version_of(restarted), order.order) == ("1.1", "rollback")
    assert "the server ended while the canary 1.2 ran" in order.reason
    await restarted.models.unpin()
    restarted.models.announce([restarted.announcement("1.2")])
    await asyncio.sleep(0.05)
    assert version_of(restarted) == "1.1"
    restarted.models.announce([restarted.announcement("1.3")])
    await until(lambda: version_of(restarted) == "1.3")
    await restarted.models.stop()


async def test_canary_that_cannot_begin_changes_nothing(judged: World) -> None:
    """The live version itself, one that is not kept, a second one, an order in between; following is as before."""
    with pytest.raises(CanaryError, match="is the live version"):
        await judged.canaries.begin("1.1", 0.5)
    with pytest.raises(VersionUnknownError):
        await judged.canaries.begin("7.7", 0.5)
    beginning = asyncio.create_task(judged.canaries.begin("1.2", 0.5))
    await asyncio.sleep(0)
    with pytest.raises(CanaryError, match="runs already"):
        await judged.canaries.begin("1.3", 0.5)
    judged.models.stand(None)  # Orders themselves take turns with what is built.
    with pytest.raises(CanaryError, match="another order came"):
        await beginning
    assert (judged.models.order, judged.arms.running, version_of(judged)) == (None, None, "1.1")


async def test_orders_are_carried_out_one_after_another(judged: World) -> None:
    """Whichever comes first: no version changes under a canary, and no canary begins under a load."""
    async with judged.admin_stub() as admin:
        begin = pb.LoadModelRequest(idempotency_key="c", version="1.2", canary_share=0.5)
        load = pb.LoadModelRequest(idempotency_key="l", version="1.3")
        begun, loaded = await asyncio.gather(
            admin.LoadModel(begin, metadata=AUTHORISED), admin.LoadModel(load, metadata=AUTHORISED)
        )
    assert (begun.status.version, loaded.status.version, version_of(judged)) == ("1.2", "1.3", "1.3")
    report = judged.canaries.report
    assert report is None or (report.version, report.live_version) == ("1.2", "1.3")


async def test_share_and_experiments_are_checked(judged: World) -> None:
    """A share is above 0 and below 1; users are not divided twice."""
    async with judged.admin_stub() as admin:
        order = pb.LoadModelRequest(idempotency_key="a", version="1.2", canary_share=1.5)
        assert await code_of(admin.LoadModel(order, metadata=AUTHORISED)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "canary_share is 1.5; send one above 0 and below 1, for example 0.05",
        )
        config = judged.config.model_copy(update={"experiment": "x", "arms": {"a": None, "b": None}})
        judged.canaries._config = config
        order = pb.LoadModelRequest(idempotency_key="b", version="1.2", canary_share=0.5)
        code, sentence = await code_of(admin.LoadModel(order, metadata=AUTHORISED))
    assert (code, "divides the users already" in sentence) == (grpc.StatusCode.FAILED_PRECONDITION, True)
