"""Laws of business rules."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from features.config import ConfigError
from serving import rules_file
from serving.rules import load_rules
from serving.rules_file import RulesFile
from tests.serving.serving_parts import APP, ITEM_IDS, World

ACTIONS = {"click": {"outcome": "positive"}}


def write(path: Path, rules: Any) -> Path:
    """Write a `headrace.yaml` with these rules."""
    path.write_text(yaml.safe_dump({"actions": ACTIONS, "rules": rules}))
    return path


async def shown(world: World, **rules: dict[str, Any]) -> list[str]:
    """Return the first ten items under these rules."""
    world.rules = world.rules_of(**rules)
    answer = await world.recommender.recommend(world.query(surface="default"))
    return [item.item_id for item in answer.items]


async def test_boost_lifts_and_bury_sinks(world: World) -> None:
    """The last of all becomes the first, the first leaves the top ten."""
    await world.serve("1.1")
    everything = await world.recommender.recommend(world.query(num_items=60))
    first, last = everything.items[0].item_id, everything.items[-1].item_id
    top = await shown(world, up={"boost": 100, "items": [last]}, down={"bury": 100, "items": [first]})
    assert (top[0], first in top) == (last, False)


async def test_pinned_item_stands_in_its_place_with_its_inputs(world: World) -> None:
    """It is named as pinned; the log has what the ranker saw of it."""
    await world.serve("1.1")
    world.rules = world.rules_of(banner={"pin": 2, "items": [ITEM_IDS[59]]})
    answer = await world.recommender.recommend(world.query())
    assert (answer.items[2].item_id, answer.items[2].source) == (ITEM_IDS[59], "pinned")
    assert [item.source for item in answer.items].count("pinned") == 1
    assert world.served.lists[0].rows.shape[0] == 10


async def test_pin_does_not_show_what_must_not_be_shown(world: World) -> None:
    """A consumed or unavailable item is not pinned."""
    await world.serve("1.1")
    world.rows.consumed["ann"] = frozenset({ITEM_IDS[0]})
    world.items.remove_item(ITEM_IDS[1])
    top = await shown(world, one={"pin": 0, "items": [ITEM_IDS[0]]}, two={"pin": 1, "items": [ITEM_IDS[1]]})
    assert not {ITEM_IDS[0], ITEM_IDS[1]} & set(top)


async def test_blocked_category_is_not_shown_with_a_model_or_without(world: World) -> None:
    """The fallback keeps to it too."""
    for item_id in ITEM_IDS[:55]:
        world.items.set_item(item_id, ["gore"])
    world.items.ensure_rows(ITEM_IDS)
    rule = {"block": True, "categories": ["gore"]}
    without = await shown(world, never=rule)
    await world.serve("1.1")
    assert set(without) == set(await shown(world, never=rule)) == set(ITEM_IDS[55:])


async def test_rule_holds_on_its_surfaces_only(world: World) -> None:
    """Elsewhere the list is as it was."""
    await world.serve("1.1")
    before = await shown(world)
    rule = {"block": True, "items": [before[0]]}
    assert await shown(world, never={**rule, "surfaces": ["probe"]}) == before
    assert before[0] not in await shown(world, never=rule)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"items": ["a"]}, r"rules\.bad: has no verb; give exactly one of boost, bury, pin, cap, block"),
        ({"boost": 1, "cap": 2, "items": ["a"]}, "has boost and cap; give exactly one"),
        ({"boost": 1}, "is about nothing; give items or categories"),
        ({"pin": 0, "items": ["a", "b"]}, "pins more than one item"),
        ({"boost": 1, "item": ["a"]}, "did you mean 'items'"),
        ({"boost": -1, "items": ["a"]}, "greater than 0"),
        ({"boost": 1, "items": ["a"], "surfaces": ["prob"]}, "did you mean 'probe'"),
    ],
)
def test_bad_rule_is_refused_by_name(tmp_path: Path, rule: dict[str, Any], says: str) -> None:
    """The sentence names the rule and what to write."""
    with pytest.raises(ConfigError, match=says):
        load_rules(write(tmp_path / "headrace.yaml", {"bad": rule}), APP)


def test_two_pins_of_one_place_are_refused(tmp_path: Path) -> None:
    """On different surfaces they may be."""
    one, two = {"pin": 0, "items": ["a"]}, {"pin": 0, "items": ["b"], "surfaces": ["probe"]}
    path = write(tmp_path / "headrace.yaml", {"one": one, "two": two})
    with pytest.raises(ConfigError, match="both pin place 0 of surface probe"):
        load_rules(path, APP)
    assert len(load_rules(write(path, {"one": {**one, "surfaces": ["default"]}, "two": two}), APP).rules) == 2


def test_item_pinned_twice_on_one_surface_is_refused(tmp_path: Path) -> None:
    """It would show twice on a list; on different surfaces it may be pinned twice."""
    one, two = {"pin": 0, "items": ["a"]}, {"pin": 3, "items": ["a"], "surfaces": ["probe"]}
    path = write(tmp_path / "headrace.yaml", {"one": one, "two": two})
    with pytest.raises(ConfigError, match=r"rules\.two and rules\.one both pin item 'a' on surface probe.*keep one"):
        load_rules(path, APP)
    assert len(load_rules(write(path, {"one": {**one, "surfaces": ["default"]}, "two": two}), APP).rules) == 2


def test_changed_file_is_read_and_a_bad_one_keeps_the_old_rules(tmp_path: Path) -> None:
    """The reason stands until a good file comes."""
    path = write(tmp_path / "headrace.yaml", {})
    rules = RulesFile(path, APP)
    write(path, {"up": {"boost": 1, "items": ["a"]}})
    rules.check()
    kept = rules.current
    write(path, {"up": {"boost": "much", "items": ["a"]}})
    rules.check()
    assert (list(kept.rules), rules.current is kept, rules.loaded, rules.refused) == (["up"], True, 1, 1)
    assert "rules.up.boost" in rules.refusal
    path.unlink()
    rules.check()
    assert (rules.current is kept, "cannot read" in rules.refusal) == (True, True)
    write(path, {})
    rules.check()
    assert (len(rules.current.rules), rules.refusal) == (0, "")


async def test_following_survives_whatever_a_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latin-1 and a parser that breaks are refusals with a reason; the next good file holds."""
    path = write(tmp_path / "headrace.yaml", {})
    rules = RulesFile(path, APP)
    following = asyncio.create_task(rules.follow(0.001))

    async def until_refused(times: int) -> None:
        while rules.refused < times and not following.done():
            await asyncio.sleep(0.001)

    async with asyncio.timeout(30):
        path.write_bytes("name: caf\u00e9\n".encode("latin-1"))
        await until_refused(1)
        assert "save it as UTF-8" in rules.refusal
        with monkeypatch.context() as patched:
            patched.setattr(rules_file, "load_rules", lambda path, app: [][0])
            write(path, {"up": {"boost": 2, "items": ["a"]}})
            await until_refused(2)
        assert "IndexError" in rules.refusal
        write(path, {"up": {"boost": 1, "items": ["a", "b"]}})
        while rules.refusal and not following.done():
            await asyncio.sleep(0.001)
    assert (rules.refused, rules.current.rules["up"].boost, following.done()) == (2, 1, False)
    following.cancel()


def test_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    """Same size, time and inode: nothing is parsed."""
    path = write(tmp_path / "headrace.yaml", {"up": {"boost": 1, "items": ["a"]}})
    rules = RulesFile(path, APP)
    stamp = path.stat()
    path.write_text(path.read_text().replace("boost", "bury "))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    rules.check()
    assert rules.loaded == 0
