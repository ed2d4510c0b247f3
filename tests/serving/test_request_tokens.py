"""Answers carry a token where request tokens are on; `tests/contracts/test_request_tokens.py` holds what it proves."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from features.config import ConfigError
from features.request_keys import add_request_key, make_request_keys
from headrace_client import Event
from protos import serving_pb2 as pb
from serving.security.request_tokens import ITEM_BYTES, RequestTokens
from tests.serving.serving_parts import World

NUM_ITEMS = 7


async def test_answers_carry_no_token_by_default(world: World) -> None:
    """Off is off."""
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        assert (await stub.Recommend(pb.RecommendRequest(user_id="ann"))).request_token == ""


async def test_token_is_of_the_answer_that_carries_it(world: World) -> None:
    """Its own request, user, items in their order and time; an event of the client package takes it along."""
    world.request_tokens = RequestTokens(world.directory / "keys.json")
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=NUM_ITEMS))
    item_ids = [item.item_id for item in reply.items]
    assert reply.request_token == world.request_tokens.sign(reply.request_id, "ann", item_ids, reply.served_time_ms)
    items = reply.request_token.split(".")[4]
    assert len(base64.urlsafe_b64decode(items + "=" * (-len(items) % 4))) == NUM_ITEMS * ITEM_BYTES
    event = Event.in_answer_to(reply, "ann", item_ids[0], "click")
    assert (event.request_id, event.request_token) == (reply.request_id, reply.request_token)


async def test_fallback_answers_are_signed_too(world: World) -> None:
    """Feedback on them counts as any other."""
    world.request_tokens = RequestTokens(world.directory / "keys.json")
    world.items.ensure_row("loved")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann"))
    assert reply.degraded_reasons
    assert reply.request_token == world.request_tokens.sign(reply.request_id, "ann", ["loved"], reply.served_time_ms)


async def test_rotation_is_followed(tmp_path: Path) -> None:
    """Without a restart."""
    path = tmp_path / "keys.json"
    tokens = RequestTokens(path)
    following = asyncio.create_task(tokens.follow(0.01))
    key = add_request_key(path)
    while tokens.sign("r", "ann", [], 1).split(".")[1] != key.id:  # The file is what is waited for.
        await asyncio.sleep(0.01)
    following.cancel()


def test_unusable_file_keeps_the_key_and_is_told(tmp_path: Path) -> None:
    """A running server signs on and its metric says so; one that starts refuses."""
    path = tmp_path / "keys.json"
    make_request_keys(path)
    tokens = RequestTokens(path)
    before, content = tokens.sign("r", "ann", ["a"], 1), path.read_bytes()
    path.write_bytes(b"{")
    tokens.check()
    [stale] = tokens.collect()
    assert (tokens.sign("r", "ann", ["a"], 1), stale.samples[0].value) == (before, 1.0)
    with pytest.raises(ConfigError, match="cannot use the request keys"):
        RequestTokens(path)
    path.write_bytes(content)
    tokens.check()
    assert tokens.refusal == ""
