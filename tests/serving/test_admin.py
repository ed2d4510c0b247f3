"""Laws of `ModelAdmin`, over a real gRPC server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import msgspec
import pytest

from protos import serving_pb2 as pb
from serving.admin import CONTROL_TOPIC
from tests.serving.serving_parts import TOKEN, World, corrupt

AUTHORISED = (("authorization", f"Bearer {TOKEN}"),)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return the code and sentence that a call fails with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),), (("authorization", TOKEN),)])
async def test_call_without_the_token_is_unauthenticated(world: World, metadata: tuple[tuple[str, str], ...]) -> None:
    """Orders and questions alike need `authorization: Bearer TOKEN`."""
    await world.serve("1.1", "1.2")
    async with world.admin_stub() as stub:
        order = stub.RollbackModel(pb.RollbackModelRequest(idempotency_key="k"), metadata=metadata)
        assert (await code_of(order))[0] == grpc.StatusCode.UNAUTHENTICATED
        question = stub.GetModelStatus(pb.GetModelStatusRequest(), metadata=metadata)
        assert (await code_of(question))[0] == grpc.StatusCode.UNAUTHENTICATED
    assert world.models.live is not None
    assert world.models.live.version == "1.2"


async def test_order_is_carried_out_once_per_key(world: World) -> None:
    """A repeated rollback with the same key goes back one step, not two; so do two at once."""
    for minute, name in enumerate(("1.1", "1.2", "1.3")):
        world.write(name, created_time_ms=600_000 * (1 + minute))
    await world.models.load("1.3")
    request = pb.RollbackModelRequest(idempotency_key="k")
    async with world.admin_stub() as stub:
        replies = await asyncio.gather(*(stub.RollbackModel(request, metadata=AUTHORISED) for _ in range(2)))
        replies.append(await stub.RollbackModel(request, metadata=AUTHORISED))
    assert [reply.status.version for reply in replies] == ["1.2"] * 3


async def test_key_of_another_order_is_refused(world: World) -> None:
    """A key names one order for good."""
    await world.serve("1.1", "1.2")
    async with world.admin_stub() as stub:
        await stub.PinModel(pb.PinModelRequest(idempotency_key="k"), metadata=AUTHORISED)
        reused = stub.RollbackModel(pb.RollbackModelRequest(idempotency_key="k"), metadata=AUTHORISED)
        assert await code_of(reused) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "idempotency_key 'k' was used for pin ; send a fresh key",
        )


async def test_failed_order_may_be_tried_again_with_its_key(world: World) -> None:
    """Only what succeeded is remembered."""
    await world.serve("1.1")
    request = pb.LoadModelRequest(idempotency_key="k", version="1.2")
    async with world.admin_stub() as stub:
        assert (await code_of(stub.LoadModel(request, metadata=AUTHORISED)))[0] == grpc.StatusCode.NOT_FOUND
        world.write("1.2")
        reply = await stub.LoadModel(request, metadata=AUTHORISED)
    assert (reply.status.version, reply.status.is_live) == ("1.2", True)


async def test_order_without_a_key_or_with_a_path_is_refused(world: World) -> None:
    """Keys are required; versions are names, never paths."""
    async with world.admin_stub() as stub:
        no_key = stub.PinModel(pb.PinModelRequest(), metadata=AUTHORISED)
        assert (await code_of(no_key))[0] == grpc.StatusCode.INVALID_ARGUMENT
        path = stub.LoadModel(pb.LoadModelRequest(idempotency_key="k", version="../../etc"), metadata=AUTHORISED)
        assert (await code_of(path))[0] == grpc.StatusCode.INVALID_ARGUMENT


async def test_release_and_reject_say_that_nothing_is_held(world: World) -> None:
    """Without a held version there is nothing to decide."""
    async with world.admin_stub() as stub:
        for call in (
            stub.ReleaseModel(pb.ReleaseModelRequest(idempotency_key="a"), metadata=AUTHORISED),
            stub.RejectModel(pb.RejectModelRequest(idempotency_key="b"), metadata=AUTHORISED),
        ):
            code, sentence = await code_of(call)
            assert (code, "no version is held" in sentence) == (grpc.StatusCode.FAILED_PRECONDITION, True)


async def test_held_version_serves_once_released_and_not_once_rejected(world: World) -> None:
    """What the trainer's gate holds waits for a person, in either direction."""
    await world.serve("1.1")
    world.models.announce([msgspec.structs.replace(world.write("1.2"), gate="HELD", gate_reason="odd scores")])
    async with world.admin_stub() as stub:
        listed = await stub.ListModels(pb.ListModelsRequest(), metadata=AUTHORISED)
        assert [(v.state, v.reason) for v in listed.versions][1] == (pb.MODEL_STATE_HELD, "odd scores")
        released = await stub.ReleaseModel(pb.ReleaseModelRequest(idempotency_key="a"), metadata=AUTHORISED)
        assert (released.status.version, released.status.is_live) == ("1.2", True)
        world.models.announce([msgspec.structs.replace(world.write("1.3"), gate="HELD")])
        request = pb.RejectModelRequest(idempotency_key="b", reason="too odd")
        rejected = await stub.RejectModel(request, metadata=AUTHORISED)
    assert (rejected.status.state, rejected.status.reason) == (pb.MODEL_STATE_REJECTED, "too odd")
    assert world.models.live is not None
    assert world.models.live.version == "1.2"


async def test_status_tells_pin_and_refusals(world: World) -> None:
    """What serves, why it does not follow, and what was refused last."""
    await world.serve("1.1")
    world.write("1.2")
    corrupt(world.store_dir / "1.2" / "dense.safetensors")
    async with world.admin_stub() as stub:
        await stub.PinModel(pb.PinModelRequest(idempotency_key="a"), metadata=AUTHORISED)
        load = stub.LoadModel(pb.LoadModelRequest(idempotency_key="b", version="1.2"), metadata=AUTHORISED)
        assert (await code_of(load))[0] == grpc.StatusCode.FAILED_PRECONDITION
        status = await stub.GetModelStatus(pb.GetModelStatusRequest(), metadata=AUTHORISED)
        listed = await stub.ListModels(pb.ListModelsRequest(), metadata=AUTHORISED)
    assert (status.live.version, status.live.is_pinned, status.is_following, status.refused) == ("1.1", True, False, 1)
    assert (status.follow_reason, dict(status.feature_offsets)) == (
        "pinned at 1.1; unpin to follow again",
        {"items:0": 5},
    )
    assert [(v.version, v.state) for v in listed.versions] == [
        ("1.1", pb.MODEL_STATE_AVAILABLE),
        ("1.2", pb.MODEL_STATE_REJECTED),
    ]


async def test_orders_leave_an_audit_line_and_a_record(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Who asked for what, and a record for the fleet on the control topic."""
    await world.serve("1.1")
    caplog.set_level(logging.INFO)
    async with world.admin_stub() as stub:
        await stub.PinModel(pb.PinModelRequest(idempotency_key="k"), metadata=AUTHORISED)
    world.writer.start()
    world.writer.stop(5.0)
    assert "audit: pin - by ipv4:127.0.0.1" in caplog.text
    ((topic, key, value),) = world.producer.records
    assert value is not None
    assert (topic, key, msgspec.json.decode(value)["order"]) == (CONTROL_TOPIC, b"headrace", "pin")
