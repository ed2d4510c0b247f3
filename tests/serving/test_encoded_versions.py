"""The oracle of swaps: whole versions pass, and a tensor of another version is found out, whichever it is."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.bench.encoded_versions import EncodedVersions
from tests.bench.version_code import VersionCode, is_of_one_version, row_of
from tests.serving.serving_parts import APP, World
from trainer.model import Model
from trainer.version_files import ModelVersion, Version, write_version

ITEMS = 400
DENSE = (
    *("tower.history_projection.weight", "tower.history_projection.bias", "ranker.input_mean", "ranker.input_variance"),
    *("ranker.linear.weight", "ranker.hidden_1.bias", "ranker.hidden_2.weight", "ranker.hidden_2.bias"),
    *("ranker.output.weight", "ranker.bias"),
)
ROWS = (
    *("item_vectors", "user_embedding", "title_tokens", "seen_ms", "neighbours", "weights", "totals"),
    *("successors", "successor_weights", "successor_totals"),
)


@pytest_asyncio.fixture
async def asked(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose users have the first item in their history."""
    world = World(tmp_path)
    row = {
        "user_history_item_ids": ["item-000000"],
        "user_history_outcomes": [1],
        "user_history_times_ms": [1_790_000_000_000],
    }
    world.rows.rows = {"ann": row}
    yield world
    await world.models.stop()


async def answers_of(world: World, version: Version) -> dict[int, float]:
    """Serve a version as it is and return the scores of a list, by row."""
    scores = tuple(Model.from_dense(version.dense).rank(version.canary_inputs).tolist())
    version = dataclasses.replace(version, manifest=msgspec.structs.replace(version.manifest, canary_scores=scores))
    write_version(world.store_dir, version)
    await world.models.load(version.manifest.version)
    answer = await world.recommender.recommend(world.query(50))
    assert not answer.degraded_reasons
    return {row_of(item.item_id): item.score for item in answer.items}


def version_of(n: int) -> Version:
    """Return version 1.n; of ITEMS items, whatever n."""
    return EncodedVersions(APP.name, APP.features, ITEMS - n, 8).version(ModelVersion(1, n))


@pytest.mark.parametrize("n", [0, 1, 2, 7, 58, 59, 100])
async def test_whole_versions_pass(asked: World, n: int) -> None:
    """Scores are what the closed form says, and those of no other version near it."""
    scores = await answers_of(asked, version_of(n))
    assert is_of_one_version(f"1.{n}", scores)
    assert not any(is_of_one_version(f"1.{other}", scores) for other in range(max(0, n - 40), n + 9) if other != n)


@pytest.mark.parametrize("name", [*ROWS, *DENSE])
async def test_planted_mix_is_rejected(asked: World, name: str) -> None:
    """One tensor of the version before under all others of this one."""
    this, before = version_of(59), version_of(58)
    if name in ROWS:
        changes: dict[str, Any] = {name: getattr(before, name)}
    else:
        changes = {"dense": {**this.dense, name: before.dense[name]}}
    assert not is_of_one_version("1.59", await answers_of(asked, dataclasses.replace(this, **changes)))


def test_an_empty_answer_proves_nothing() -> None:
    """Nor does one of scores alone that happen to be near."""
    assert not is_of_one_version("1.1", {})
    assert not is_of_one_version("1.1", {3: VersionCode(1).score_of(3) + 0.01})
