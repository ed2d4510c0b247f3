"""Laws of diversity."""

from __future__ import annotations

import numpy as np
import pytest

from protos import serving_pb2 as pb
from serving.config import DiversityConfig, ServingConfig
from serving.stages.diversify import maximal_marginal_relevance
from tests.serving.serving_parts import ITEM_IDS, World

SCORES = np.array([5.0, 4.9, 4.0, 1.0], dtype=np.float32)
VECTORS = np.array([[1, 0], [1, 0.01], [0, 1], [0.7, 0.7]], dtype=np.float32)


def test_full_weight_of_relevance_orders_by_score() -> None:
    """Likeness costs nothing then."""
    assert maximal_marginal_relevance(SCORES, VECTORS, 1.0).tolist() == [0, 1, 2, 3]


def test_twin_of_the_first_item_stands_behind_what_is_new() -> None:
    """Every step maximises the formula, as ten lines of plain Python do."""
    cosine = VECTORS @ VECTORS.T / np.outer(*[np.linalg.norm(VECTORS, axis=1)] * 2)
    relevance = (SCORES - SCORES.min()) / np.ptp(SCORES)
    chosen: list[int] = []
    while len(chosen) < len(SCORES):
        rest = [one for one in range(len(SCORES)) if one not in chosen]
        worth = [0.6 * relevance[one] - 0.4 * max((cosine[one, c] for c in chosen), default=0.0) for one in rest]
        chosen.append(rest[int(np.argmax(worth))])
    found = maximal_marginal_relevance(SCORES, VECTORS, 0.6).tolist()
    assert found == chosen
    assert found.index(2) < found.index(1)


@pytest.mark.parametrize("size", [0, 1])
def test_short_lists_are_ordered_too(size: int) -> None:
    """Nothing and a single item have an order."""
    assert maximal_marginal_relevance(SCORES[:size], VECTORS[:size], 0.5).tolist() == list(range(size))


async def test_category_cap_holds_on_every_list(world: World) -> None:
    """No more than two of one category, whatever their scores."""
    world.stages.diversifier._config = DiversityConfig(category_cap=2)
    await world.serve("1.1")
    for item_id in ITEM_IDS[:40]:
        world.items.set_item(item_id, ["drama"])
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=22))
    shown = {item.item_id for item in reply.items}
    assert (len(shown), len(shown & set(ITEM_IDS[:40]))) == (22, 2)


def test_config_of_the_server_reaches_the_stage(world: World) -> None:
    """Off by default: lists are ordered by score."""
    assert world.stages.diversifier._config == ServingConfig().diversity == DiversityConfig()
