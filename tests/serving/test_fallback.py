"""Laws of the fallback ladder."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from features.user_state import cold_user_state
from serving.answers import RankedList
from serving.config import ServingConfig
from tests.features.feature_records import counted
from tests.serving.serving_parts import APP, World

CONFIGURED = ("house-special", "soup")


def fill(world: World) -> int:
    """Make `a` to `f` the more popular the later; the vowels are drama. Return the time."""
    now_ms = time.time_ns() // 1_000_000
    for number, item_id in enumerate("abcdef"):
        world.items.set_item(item_id, ["drama" if item_id in "ae" else "war"])
        for event in range(number + 1):
            world.items.add_event(world.items.row_of(item_id), counted(f"{item_id}{event}", now_ms), 1)
    return now_ms


def ids(ranked: RankedList) -> list[str]:
    """Return the items of a list."""
    return [item.item_id for item in ranked.items]


def test_without_a_user_everything_is_ordered_by_popularity(world: World) -> None:
    """The most popular first."""
    now_ms = fill(world)
    assert ids(world.recommender._fallback.rank(world.query(4), None, now_ms)) == ["f", "e", "d", "c"]


def test_favourite_categories_of_the_user_come_first(world: World) -> None:
    """What is popular in drama, then what is popular at all."""
    now_ms = fill(world)
    user = dataclasses.replace(cold_user_state("ann", APP.features), category_names=("drama",))
    assert ids(world.recommender._fallback.rank(world.query(4), user, now_ms)) == ["e", "a", "f", "d"]


def test_filters_hold_on_every_step(world: World) -> None:
    """Consumed, excluded and unavailable items are left out, other categories and other candidates too."""
    now_ms = fill(world)
    user = dataclasses.replace(cold_user_state("ann", APP.features), consumed=frozenset("f"))
    world.items.remove_item("d")
    ladder = world.recommender._fallback
    assert ids(ladder.rank(world.query(exclude_item_ids="e"), user, now_ms)) == ["c", "b", "a"]
    assert ids(ladder.rank(world.query(category_filter=("drama",)), user, now_ms)) == ["e", "a"]
    assert ids(ladder.rank(world.query(candidate_item_ids=("a", "c", "f")), user, now_ms)) == ["c", "a"]


def test_configured_list_is_the_last_step(tmp_path: Path) -> None:
    """Nothing known at all: the list of headrace.yaml, less what is excluded or blocked, for no narrow wish."""
    world = World(tmp_path, ServingConfig(fallback_items=CONFIGURED))
    ladder, now_ms = world.recommender._fallback, 1_790_000_000_000
    empty = ladder.rank(world.query(), None, now_ms)
    assert [(item.item_id, item.source) for item in empty.items] == [(one, "configured") for one in CONFIGURED]
    assert ids(ladder.rank(world.query(exclude_item_ids=("soup",)), None, now_ms)) == ["house-special"]
    assert ids(ladder.rank(world.query(category_filter=("war",)), None, now_ms)) == []
    world.rules = world.rules_of(recalled={"block": True, "items": ["house-special"]})
    assert ids(ladder.rank(world.query(), None, now_ms)) == ["soup"]


def test_item_configured_twice_shows_once(tmp_path: Path) -> None:
    """The next one moves up."""
    world = World(tmp_path, ServingConfig(fallback_items=("soup", "soup", "bread")))
    assert ids(world.recommender._fallback.rank(world.query(2), None, 1_790_000_000_000)) == ["soup", "bread"]


def test_configured_list_fills_up_what_popularity_leaves(tmp_path: Path) -> None:
    """Known items first, none twice."""
    world = World(tmp_path, ServingConfig(fallback_items=(*CONFIGURED, "f")))
    now_ms = fill(world)
    assert ids(world.recommender._fallback.rank(world.query(8), None, now_ms)) == [*"fedcba", *CONFIGURED]
