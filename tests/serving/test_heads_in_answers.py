"""Chances of heads come with an answer where somebody asks and a model ranked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from protos import serving_pb2 as pb
from serving.errors import VersionRefusedError
from tests.serving.serving_parts import ITEM_IDS, World, make_version
from trainer.model import Model
from trainer.version_files import write_version


def write_with_heads(world: World, name: str, bias: float) -> None:
    """Write a version of two heads; the first stands `10 * bias` of log odds from the score, which is 0."""
    version = make_version(name, heads=("click", "dismiss"))
    shape = len(version.canary_inputs[0]), version.dense["pre_ranker"].shape[0]
    heads = Model(4, *shape, first_scales=(0.0, 0.0)).dense()
    dense = dict(version.dense) | {key: value for key, value in heads.items() if key.startswith("heads.")}
    dense["heads.bias"] = np.array([bias, 0.0], dtype=np.float32)
    write_version(world.store_dir, dataclasses.replace(version, dense=dense))


async def test_an_answer_tells_heads_only_when_asked(world: World) -> None:
    """Each item has the chance of each head, by name; without asking none is computed."""
    write_with_heads(world, "1.1", bias=-0.2)
    await world.models.load("1.1")
    async with world.recommender_stub() as stub:
        told = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=5, include_heads=True))
        silent = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=5))
    assert [set(item.heads) for item in told.items] == [{"click", "dismiss"}] * 5
    assert told.items[0].heads["click"] == pytest.approx(1.0 / (1.0 + np.exp(2.0)), abs=1e-6)
    assert told.items[0].heads["dismiss"] == pytest.approx(0.5, abs=1e-6)
    assert not any(item.heads for item in silent.items)


async def test_rank_tells_heads_of_what_the_version_knows(world: World) -> None:
    """An unknown item stands last, and nobody claims a chance for it."""
    write_with_heads(world, "1.1", bias=0.0)
    await world.models.load("1.1")
    item_ids = [ITEM_IDS[0], "nobody-knows", ITEM_IDS[1]]
    async with world.recommender_stub() as stub:
        reply = await stub.Rank(pb.RankRequest(user_id="ann", item_ids=item_ids, include_heads=True))
    assert [bool(item.heads) for item in reply.items] == [True, True, False]
    assert reply.items[2].item_id == "nobody-knows"


async def test_a_fallback_has_no_chances(world: World) -> None:
    """Without a model nobody knows them, and the answer is valid all the same."""
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=5, include_heads=True))
    assert not any(item.heads for item in reply.items)
    assert "no_model" in reply.degraded_reasons


async def test_a_version_without_heads_tells_none(world: World) -> None:
    """`heads_weight: 0`: the weights are there and mean nothing."""
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=5, include_heads=True))
    assert reply.items
    assert not any(item.heads for item in reply.items)


async def test_names_that_do_not_fit_the_weights_are_refused(world: World) -> None:
    """A manifest of three heads over weights of one: names would stand beside other chances."""
    world.write("1.1", heads=("click", "dismiss", "purchase"))
    with pytest.raises(VersionRefusedError, match="its manifest names"):
        await world.models.load("1.1")
