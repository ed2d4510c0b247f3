"""Laws of the index beside deltas: what they bring is found at once, and no version is mixed with another."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from features.pool_inputs import POOL_TOWER
from features.user_state import UserState, cold_user_state
from serving import index_upkeep, tower_index
from serving.config import ServingConfig
from serving.index_upkeep import IndexUpkeep, made_up_users
from serving.serving_model import ServingModel
from serving.stages.candidates import CandidateFinder
from serving.stages.filter import Limits
from serving.tower_index import TowerIndex
from tests.serving.serving_parts import APP, World
from tests.serving.test_delta_following import until, version_of
from tests.serving.version_chain import USERS, VersionChain, encoded_version, history_row, put, records_of
from trainer.version_delta import Change, digest_of, encode_delta

SIZE = 3000
ITEM_IDS = tuple(f"item-{number:04d}" for number in range(SIZE))
ANN = np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)
"""The direction of every user of `version_chain`."""
Chained = tuple[World, VersionChain]


@pytest_asyncio.fixture
async def chained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chained]:
    """A world with an index of three thousand random vectors, which follows deltas."""
    monkeypatch.setattr(tower_index, "_WORTH", np.inf)
    world = World(tmp_path, ServingConfig(deadline_ms=60_000, tower_index_items=SIZE))
    world.rows.rows = dict.fromkeys(USERS, history_row())
    vectors = np.random.default_rng(3).normal(size=(SIZE, 4)).astype(np.float32)
    chain = VersionChain(world.store_dir, dataclasses.replace(encoded_version("1.1", ITEM_IDS), item_vectors=vectors))
    await world.models.start(3)
    yield world, chain
    await world.models.stop()


async def change(world: World, chain: VersionChain, rows: list[int], vector: NDArray[np.float32]) -> ServingModel:
    """Go on to the next version, which gives some rows a vector and has one item more; return it when it serves."""
    delta = chain.next_delta()
    num_items = delta.manifest.num_items
    values = np.zeros((len(rows), 4), dtype=np.float32) + vector
    changes = {**delta.changes, "item_vectors": Change(np.array(rows), values)}
    delta = dataclasses.replace(delta, changes=changes)
    payload = encode_delta(delta)
    chain.image.apply(delta, digest_of(payload))
    put(world, records_of(delta, payload))
    await until(lambda: version_of(world) == delta.manifest.version)
    live = world.models.live
    assert live is not None
    assert live.num_items == num_items
    return live


def named(live: ServingModel) -> set[int]:
    """Return the rows that are named for Ann; an index is asked."""
    assert live.near is not None
    rows = live.near.of(ANN, live.num_items, 20)
    assert rows is not None
    return {*rows.tolist()}


def sources(world: World, live: ServingModel) -> dict[int, str]:
    """Return the rows of Ann's candidates with what found them; the pre-ranker goes by the tower."""
    live.pre_ranker[POOL_TOWER] = 100.0
    catalog = world.stages.catalogs.at(live, 1_790_000_000_000)
    limits = Limits(np.zeros(0, dtype=np.int64), None, None)
    found = CandidateFinder().find(catalog, ann(), limits, 1_790_000_000_000, 20, is_short=False)
    return dict(zip(found.rows.tolist(), found.sources, strict=True))


def ann() -> UserState:
    """Return a user without a history."""
    return cold_user_state("ann", APP.features)


async def test_the_nearest_of_all_are_named(chained: Chained) -> None:
    """A version goes live with its index; one user may have a little less than the mean that is told."""
    live = chained[0].models.live
    assert live is not None
    nearest = np.argsort(-(live.item_vectors @ ANN))[:100].tolist()
    assert len(named(live) & {*nearest}) >= 90


async def test_a_new_item_with_a_near_vector_is_found_right_behind_its_delta(chained: Chained) -> None:
    """No index was made meanwhile, and lists name the tower as its source."""
    world, chain = chained
    before = world.models.indexes.near.index
    live = await change(world, chain, [SIZE], 50.0 * ANN)
    assert world.models.indexes.near.index is before
    assert SIZE in named(live)
    assert sources(world, live)[SIZE] == "tower"


async def test_an_item_that_moved_is_found_by_its_new_vector_and_not_by_the_old_one(chained: Chained) -> None:
    """The farthest becomes the nearest, the nearest the farthest."""
    world, chain = chained
    live = world.models.live
    assert live is not None
    order = np.argsort(live.item_vectors @ ANN)
    far, near = int(order[0]), int(order[-1])
    live = await change(world, chain, [far, SIZE], 50.0 * ANN)
    live = await change(world, chain, [near, SIZE + 1], -50.0 * ANN)
    query = live.tower_query(ann(), live.rows_of([]), 20)
    assert query.near_rows is not None
    scores = live.item_vectors[query.near_rows] @ ANN
    assert query.near_rows[np.argsort(-scores)[0]] in (far, SIZE)
    assert near not in query.near_rows[np.argsort(-scores)[:20]].tolist()


async def test_an_index_is_of_one_version_though_deltas_are_written_meanwhile(
    chained: Chained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both buffers are written while it is made; what they changed is looked at beside it."""
    world, chain = chained
    may_end, seen = threading.Event(), []

    def made_slowly(vectors: NDArray[np.float32], *others: Any) -> TowerIndex | None:
        before = vectors.copy()
        may_end.wait(60)
        seen.append(bool((vectors == before).all()))
        return tower_index.make_index(vectors, *others)

    monkeypatch.setattr(index_upkeep, "make_index", made_slowly)
    monkeypatch.setattr(world.models.indexes, "_not_before_s", float("-inf"))
    monkeypatch.setattr(index_upkeep, "_MOVED", 0.0)
    old = world.models.indexes.near.index
    await change(world, chain, [5, SIZE], 40.0 * ANN)  # Moved: the next index is begun behind it.
    for row in (10, 11, 12):
        live = await change(world, chain, [row], 50.0 * ANN)
    may_end.set()
    await until(lambda: world.models.indexes.near.index is not old)
    near = world.models.indexes.near
    assert near.then is not None
    assert seen == [True]
    assert near.then.moved.tolist() == [10, SIZE + 1, 11, SIZE + 2, 12, SIZE + 3]
    assert {5, 10, 11, 12, SIZE} <= named(live)


async def test_small_steps_of_all_vectors_need_no_newer_index(chained: Chained) -> None:
    """A category's step is a small one of many items."""
    world, chain = chained
    live = world.models.live
    assert live is not None
    step = 1.01 * live.item_vectors
    live = await change(world, chain, list(range(SIZE)), step)
    assert live.near is not None
    assert live.near.num_moved == 1  # The item that came.


async def test_what_moved_much_has_all_looked_at(chained: Chained) -> None:
    """Answers are right whatever the index is worth."""
    world, chain = chained
    live = await change(world, chain, list(range(SIZE // 2, SIZE)), 30.0 * ANN)
    assert live.near is not None
    assert live.near.of(ANN, live.num_items, 20) is None
    nearest = [row for row, source in sources(world, live).items() if source == "tower"]
    assert nearest
    assert min(nearest) >= SIZE // 2


async def test_an_index_that_cannot_be_made_costs_no_answer(
    chained: Chained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All products are taken, and it is told."""
    world, _ = chained
    monkeypatch.setattr(index_upkeep, "make_index", lambda *_: 1 / 0)
    await world.models.reload()
    live = world.models.live
    assert live is not None
    assert live.near is not None
    assert (live.near.index, world.models.indexes.told()) == (None, {})
    assert "all products are taken" in caplog.text
    assert len((await world.recommender.recommend(world.query(5))).items) == 5


async def test_a_small_catalogue_has_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is its library looked for; 0 is never."""
    monkeypatch.setattr(index_upkeep, "make_index", lambda *_: pytest.fail("an index was made"))
    await world.serve("1.1")
    live = world.models.live
    assert live is not None
    assert live.near is not None
    assert live.tower_query(ann(), live.rows_of([]), 20).near_rows is None
    for min_items in (0, live.num_items + 1):
        assert IndexUpkeep(min_items).for_version(live, lambda: True).index is None


async def test_status_and_metrics_tell_of_the_index(chained: Chained) -> None:
    """Recall above all."""
    world, chain = chained
    await change(world, chain, [SIZE], 50.0 * ANN)
    told = world.models.indexes.told()
    assert (told["items"], told["moved_rows"], told["recall"] >= 0.95) == (SIZE, 1, True)
    gauges = {one.name: one.samples[0].value for one in world.models.indexes.collect() if one.type == "gauge"}
    assert gauges == {f"headrace_serving_tower_index_{name}": value for name, value in told.items()}


async def test_made_up_users_are_such_as_the_tower_makes(world: World) -> None:
    """Finite, of its width, not all alike."""
    await world.serve("1.1")
    live = world.models.live
    assert live is not None
    users = made_up_users(live, 16)
    assert users.shape == (16, live.item_vectors.shape[1])
    assert np.isfinite(users).all()
    assert len(np.unique(users, axis=0)) > 1
