"""The baselines against plain Python."""

from __future__ import annotations

import random

import numpy as np
import pytest

from compose.demo.baselines import DecayedPopularity, SentEvent, counters_hits, popularity_hits
from compose.demo.data import SourceItem
from compose.demo.options import LIST_SIZE
from compose.demo.pacing import PlannedEvent, Turn
from features.config import FeaturesConfig
from tests.compose.demo_parts import planned, rating


def small_stream(seed: int = 3) -> list[PlannedEvent]:
    """Return 600 ratings of 20 users on 60 items, some liked far more often."""
    rng = random.Random(seed)
    events = {
        (f"u{rng.randrange(20)}", f"i{min(rng.randrange(60), rng.randrange(60))}"): float(rng.randint(1, 5))
        for _ in range(900)
    }
    return planned([rating(u, i, stars, n) for n, ((u, i), stars) in enumerate(events.items())], active_users=5)


def plain_popularity_hits(plan: list[PlannedEvent], half_life: float) -> list[bool]:
    """Decay every score at every positive; sort all candidates at every scored turn."""
    scores: dict[str, float] = {}
    consumed: dict[str, set[str]] = {}
    hits = []
    for p in plan:
        own = consumed.setdefault(p.event.user_id, set())
        ranking = sorted((item for item in scores if item not in own), key=lambda item: -scores[item])
        hits.append(p.turn is Turn.SCORED and p.event.item_id in ranking[:LIST_SIZE])
        scores.setdefault(p.event.item_id, 0.0)
        if p.outcome == 1:
            scores = {item: score * 2 ** (-1 / half_life) for item, score in scores.items()}
            scores[p.event.item_id] += 1.0
        own.add(p.event.item_id)
    return hits


def test_decayed_popularity_equals_plain_python() -> None:
    """The incremental ranking has the hits of decaying and sorting everything each time."""
    plan = small_stream()
    assert popularity_hits(plan).tolist() == plain_popularity_hits(plan, half_life=500.0)


def test_popularity_survives_its_own_rebasing() -> None:
    """A half-life of one event makes weights grow fast; the newest positive still ranks first."""
    popularity = DecayedPopularity(2, half_life_events=1.0)
    for event in range(2000):
        popularity.add_event(event % 2, outcome=1)
    assert popularity.has_in_top(1, [], size=1)
    assert not popularity.has_in_top(0, [], size=1)


def test_an_item_without_an_event_is_a_miss() -> None:
    """Metadata alone makes no item known."""
    popularity = DecayedPopularity(3)
    popularity.add_event(0, outcome=1)
    assert not popularity.has_in_top(2, [], size=10)


def test_consumed_items_leave_room_for_others() -> None:
    """The eleventh item is in the top ten of a user who had one of the ten before it."""
    popularity = DecayedPopularity(11)
    for row in range(11):
        popularity.add_event(row, outcome=0)
    assert not popularity.has_in_top(10, [], LIST_SIZE)
    assert popularity.has_in_top(10, [4], LIST_SIZE)


def test_counters_only_finds_what_follows() -> None:
    """When b always follows a, the hand-weighted score recommends b after a, out of 40 items."""
    items = {f"i{n}": SourceItem(f"i{n}") for n in range(40)}
    sent: list[SentEvent] = []
    for n in range(39):
        sent.append(SentEvent("warm", f"i{n}", f"w{n}", 1000 + n, outcome=1))
    for user in range(5):
        sent.append(SentEvent(f"u{user}", "i3", f"a{user}", 5000 + user, outcome=1))
        sent.append(SentEvent(f"u{user}", "i39", f"b{user}", 6000 + user, outcome=1))
    sent.append(SentEvent("you", "i3", "y", 7000, outcome=1))
    sent.append(SentEvent("you", "i39", "z", 7100, outcome=1, scored_index=0))
    assert counters_hits(sent, items, 1, FeaturesConfig()).tolist() == [True]


def test_no_baseline_hits_where_nothing_is_scored() -> None:
    """Hits are False outside scored turns."""
    plan = small_stream()
    is_scored = np.array([p.turn is Turn.SCORED for p in plan])
    assert not popularity_hits(plan)[~is_scored].any()
    assert popularity_hits(plan)[is_scored].mean() == pytest.approx(0.25, abs=0.15)
