"""Laws of exploration: what is written down is the chance that it had."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from features.config import ConfigError, validate
from protos import serving_pb2 as pb
from serving.config import ExplorationConfig
from serving.stages.explore import Explorer, slot_chances
from tests.serving.serving_parts import ITEM_IDS, World

SCORES = np.array([3.0, 2.0, 1.0, 0.0], dtype=np.float32)
FRESH_LAST = np.array([False, False, False, True])
NONE_FRESH = np.zeros(4, dtype=np.bool_)


def explorer(**changes: object) -> ExplorationConfig:
    """Return a policy for the second place."""
    return ExplorationConfig.model_validate({"policy": "epsilon", "slots": [1], **changes})


def test_epsilon_is_spread_evenly_over_the_nearest() -> None:
    """The best has the rest of it; what is not near has none."""
    chances = slot_chances(SCORES, NONE_FRESH, explorer(epsilon=0.3, candidates=3))
    assert chances.tolist() == pytest.approx([0.8, 0.1, 0.1, 0.0])


def test_softmax_has_the_odds_of_the_scores() -> None:
    """At temperature 0.5 one point more is e^2 times as often."""
    chances = slot_chances(SCORES, NONE_FRESH, explorer(policy="softmax", temperature=0.5))
    assert (chances[:-1] / chances[1:]).tolist() == pytest.approx([np.exp(2.0)] * 3)
    assert chances.sum() == pytest.approx(1.0)


def test_fresh_items_have_their_budget_and_no_more() -> None:
    """A fresh item far down gets the share; where there is none, nobody loses."""
    config = explorer(epsilon=0.3, candidates=3, fresh_share=0.2)
    assert slot_chances(SCORES, FRESH_LAST, config).tolist() == pytest.approx([0.64, 0.08, 0.08, 0.2])
    assert slot_chances(SCORES, NONE_FRESH, config).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("policy", ["epsilon", "softmax"])
async def test_logged_chances_are_how_often_it_happens(world: World, policy: str) -> None:
    """Over 2,000 lists each item stands in the drawn place as often as its propensity said."""
    config = ExplorationConfig.model_validate({"policy": policy, "slots": [1], "epsilon": 0.6, "candidates": 5})
    world.stages.explorer = Explorer(config, random.Random(1).random)
    await world.serve("1.1")
    counts: Counter[str] = Counter()
    said: dict[str, float] = {}
    for _ in range(2000):
        answer = await world.recommender.recommend(world.query())
        counts[answer.items[1].item_id] += 1
        said[answer.items[1].item_id] = answer.items[1].propensity
        assert {item.propensity for place, item in enumerate(answer.items) if place != 1} == {1.0}
    assert sum(said.values()) == pytest.approx(1.0, abs=1e-6)
    for item_id, propensity in said.items():
        assert abs(counts[item_id] / 2000 - propensity) < 4.0 * np.sqrt(propensity * (1 - propensity) / 2000)


async def test_chances_travel_to_the_answer_and_into_the_log(world: World) -> None:
    """The served record holds every item's propensity, and whether a draw put it in place of the best."""
    world.stages.explorer = Explorer(explorer(epsilon=1.0), lambda: 0.999)
    await world.serve("1.1")
    async with world.recommender_stub() as stub:
        reply = await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=3))
    (served,) = world.served.lists
    assert [item.propensity for item in reply.items] == [item.propensity for item in served.items] == [1.0, 0.05, 1.0]
    assert [item.explored for item in served.items] == [False, True, False]


async def test_surface_that_does_not_learn_is_not_drawn_for(world: World) -> None:
    """Probes see the best there is."""
    world.stages.explorer = Explorer(explorer(epsilon=1.0), lambda: 0.999)
    await world.serve("1.1")
    probe = await world.recommender.recommend(world.query(surface="probe"))
    assert {item.propensity for item in probe.items} == {1.0}


async def test_caps_hold_for_what_is_drawn(world: World) -> None:
    """A draw never chooses what a rule allows no more of."""
    world.stages.explorer = Explorer(
        ExplorationConfig(policy="epsilon", slots=tuple(range(10)), epsilon=1.0, candidates=40), random.Random(2).random
    )
    world.rules = world.rules_of(few={"cap": 1, "items": list(ITEM_IDS[:50])})
    await world.serve("1.1")
    for _ in range(30):
        answer = await world.recommender.recommend(world.query())
        assert sum(item.item_id in ITEM_IDS[:50] for item in answer.items) <= 1


def test_policy_without_places_is_refused() -> None:
    """The sentence shows what to write."""
    with pytest.raises(ConfigError, match=r"needs slots; name the places to draw for, for example \[4, 9\]"):
        validate({"policy": "softmax"}, ExplorationConfig, "serving.exploration")
    with pytest.raises(ConfigError, match="different places from 0 to 499"):
        validate({"policy": "softmax", "slots": [3, 3]}, ExplorationConfig, "serving.exploration")
