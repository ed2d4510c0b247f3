"""Laws of the simulated visitors."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from compose.demo.click_model import LOVED_CLICK_RATE, OTHER_CLICK_RATE, Visitor, examination_rate, make_visitors, react

LOVER = Visitor("v", frozenset({"Drama"}))
ITEMS = [f"i{n}" for n in range(10)]


def clicks(categories: list[tuple[str, ...]], lists: int = 20_000) -> Counter[str]:
    """Count clicks per item over many lists."""
    rng = random.Random(1)
    reactions = (reaction for _ in range(lists) for reaction in react(LOVER, ITEMS, categories, rng))
    return Counter(reaction.item_id for reaction in reactions if reaction.action == "click")


def test_clicks_fall_with_the_position_as_examination_does() -> None:
    """With equal items, clicks per position are examination times attractiveness."""
    found = clicks([("Drama",)] * 10)
    for position in (0, 4, 9):
        expected = 20_000 * examination_rate(position) * LOVED_CLICK_RATE
        assert found[f"i{position}"] == pytest.approx(expected, rel=0.1)


def test_loved_genres_are_clicked_more() -> None:
    """At the same position only the item decides."""
    found = clicks([("Drama",), *[("War",)] * 9])
    other = clicks([("War",)] * 10)
    assert found["i0"] / other["i0"] == pytest.approx(LOVED_CLICK_RATE / OTHER_CLICK_RATE, rel=0.25)


def test_a_like_follows_its_click() -> None:
    """Likes come after a click on the same item, and reactions are in order of time."""
    rng = random.Random(5)
    for _ in range(200):
        reactions = react(LOVER, ITEMS, [("Drama",)] * 10, rng)
        clicked = [r.item_id for r in reactions if r.action == "click"]
        assert {r.item_id for r in reactions if r.action == "like"} <= set(clicked)
        assert [r.after_s for r in reactions] == sorted(r.after_s for r in reactions)


def test_visitors_are_the_same_for_the_same_seed() -> None:
    """Tastes are a function of the seed."""
    genres = ["Drama", "War", "Comedy"]
    assert make_visitors(5, genres, random.Random(2)) == make_visitors(5, genres, random.Random(2))


def test_a_catalogue_without_genres_still_has_visitors() -> None:
    """Without genres nobody has a taste, and clicks are rare."""
    assert make_visitors(1, [], random.Random(2))[0].click_rate(()) == OTHER_CLICK_RATE
