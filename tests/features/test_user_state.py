"""A user is the same from a Feast row and from in-process tables, and a function of sets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from features.config import EPOCH_HALF_LIVES, FeaturesConfig
from features.declared_features import of_entity
from features.declared_table import CountedEvent, DeclaredTable
from features.user_state import UserTable, cold_user_state, user_state_from_row
from tests.features.declared import DECLARED, DECLARING
from tests.features.feature_records import NOW_MS, counted

LISTS = [("r2", NOW_MS - 5, ("a", "b")), ("r1", NOW_MS - 5, ("c", "a")), ("r3", NOW_MS - 9_000, ("d", "c"))]
KINDS: tuple[Callable[[int], bool], ...] = (lambda _: True, lambda outcome: outcome > 0, lambda outcome: outcome < 0)
"""Which outcomes count as events, positives and negatives."""


def travelling(half_life_s: float, events: list[tuple[int, int]]) -> list[float]:
    """One half-life as Flink writes it, of (event_time_ms, outcome): the two newest epochs against their starts."""
    epoch_ms = round(EPOCH_HALF_LIVES * half_life_s * 1000)
    newest = max(time_ms for time_ms, _ in events) // epoch_ms
    row = [float(newest)]
    for epoch in (newest, newest - 1):
        parts = [
            (2.0 ** ((at % epoch_ms) / half_life_s / 1000), outcome)
            for at, outcome in events
            if at // epoch_ms == epoch
        ]
        row += [sum(weight for weight, outcome in parts if keep(outcome)) for keep in KINDS]
    return row


def user_events() -> list[tuple[CountedEvent, tuple[str, ...], int]]:
    """Forty events of a day, some at equal times, with categories and outcomes."""
    rng = random.Random(6)
    made = []
    for number in range(40):
        time_ms = NOW_MS - rng.randrange(24) * 3_600_000
        action = rng.choice(["view", "purchase", "rating"])
        event = counted(f"i{rng.randrange(9)}", time_ms, f"e{number}", action=action, value=float(rng.randrange(1, 6)))
        made.append((event, tuple(rng.sample(["war", "drama", "noir"], rng.randrange(3))), rng.randrange(-1, 2)))
    return made


def feast_row(config: FeaturesConfig) -> dict[str, Any]:
    """The user's row as Flink and the ingester leave it, from plain Python over the events."""
    events = user_events()
    newest = sorted(events, key=lambda one: (one[0].event_time_ms, one[0].event_id), reverse=True)[
        : config.history_length
    ]
    names = sorted({name for _, categories, _ in events for name in categories})
    shown = sorted(LISTS, key=lambda one: (one[1], one[0]), reverse=True)
    declared = DeclaredTable(of_entity(config.declared, "user"))
    for event, _, _ in events:
        declared.add_event(0, event)
    numbers, ends = declared.row(0), np.cumsum([one.width for one in of_entity(config.declared, "user").values()])
    every = [(event.event_time_ms, outcome) for event, _, outcome in events]
    by_name = [
        [(e.event_time_ms, outcome) for e, categories, outcome in events if name in categories] for name in names
    ]
    return {
        "user_counters": [number for life_s in config.half_lives_s for number in travelling(life_s, every)],
        "user_history_item_ids": [event.item_id for event, _, _ in newest],
        "user_history_times_ms": [event.event_time_ms for event, _, _ in newest],
        "user_history_outcomes": [outcome for _, _, outcome in newest],
        "user_category_names": names,
        "user_category_counts": [n for own in by_name for n in travelling(config.half_lives_s[-1], own)],
        "user_shown_item_ids": [item_id for _, _, items in shown for item_id in items],
        "user_shown_times_ms": [time_ms for _, time_ms, items in shown for _ in items],
        **{
            name: part.tolist()
            for name, part in zip(of_entity(config.declared, "user"), np.split(numbers, ends), strict=False)
        },
    }


def test_a_feast_row_and_the_in_process_table_give_the_same_user() -> None:
    """After the same events and lists, in another order: every field."""
    table = UserTable(DECLARING)
    for event, categories, outcome in random.Random(1).sample(user_events(), 40):
        table.add_event(event, categories, outcome)
    for request_id, time_ms, item_ids in LISTS:
        table.add_shown("u", request_id, time_ms, item_ids)
    expected, consumed = table.state("u", NOW_MS), {event.item_id for event, _, _ in user_events()}
    state = user_state_from_row("u", feast_row(DECLARING), consumed, NOW_MS, DECLARING)
    for name in ("history_item_ids", "shown_item_ids", "is_known", "user_id"):
        assert getattr(state, name) == getattr(expected, name)
    assert set(state.consumed) == set(expected.consumed)
    for name in ("counts", "history_outcomes", "history_times_ms", "shown_times_ms", "declared"):
        np.testing.assert_allclose(getattr(state, name), getattr(expected, name), rtol=1e-9, atol=1e-9)
    assert set(state.category_names) == set(expected.category_names)
    counts = dict(zip(state.category_names, state.category_counts, strict=True))
    for name, wanted in zip(expected.category_names, expected.category_counts, strict=True):
        np.testing.assert_allclose(counts[name], wanted, rtol=1e-9)


@pytest.mark.parametrize("bad", [None, [1.0], [float("nan")] * 28])
def test_misshapen_counters_count_as_nothing(bad: list[float] | None) -> None:
    """A bad row degrades to a cold user instead of failing the request."""
    state = user_state_from_row("u", {"user_counters": bad}, set(), NOW_MS, DECLARING)
    assert state.counts.sum() == 0.0
    assert not state.is_known


@pytest.mark.parametrize("bad", [None, [], [1.0], [float("nan"), 1.0, 1.0], [float("inf")] * 3])
def test_a_misshapen_declared_feature_counts_as_nothing(bad: list[float] | None) -> None:
    """Its neighbours keep their places."""
    row = {"user_views": bad, "user_last_rating": [NOW_MS, 4.0]}
    state = user_state_from_row("u", row, set(), NOW_MS, DECLARING)
    assert state.declared.tolist() == [NOW_MS, 4.0] + [0.0] * 9


def test_shown_items_without_times_are_old_ones() -> None:
    """Columns of different lengths do not fail the request, and the limit of this reader counts."""
    config = FeaturesConfig(exposure_length=2)
    row = {"user_shown_item_ids": ["a", "b", "c"], "user_shown_times_ms": [7]}
    state = user_state_from_row("u", row, set(), NOW_MS, config)
    assert (state.shown_item_ids, state.shown_times_ms.tolist()) == (("a", "b"), [7, 0])


def test_history_is_the_newest_by_time_and_id_in_any_arrival_order() -> None:
    """All 24 arrival orders of four events give the same three newest."""
    events = [("a", 1, "e1"), ("b", 2, "e2"), ("c", 2, "e3"), ("d", 3, "e0")]
    for order in itertools.permutations(events):
        users = UserTable(FeaturesConfig(history_length=3))
        for item_id, offset, event_id in order:
            users.add_event(counted(item_id, NOW_MS + offset, event_id), [], 0)
        assert users.state("u", NOW_MS + 9).history_item_ids == ("d", "c", "b")


def test_consumed_items_are_bounded_by_the_oldest() -> None:
    """The cap drops what was consumed longest ago."""
    users = UserTable(FeaturesConfig(consumed_limit=2))
    for offset, item_id in enumerate("abc"):
        users.add_event(counted(item_id, NOW_MS + offset, item_id), [], 0)
    assert set(users.state("u", NOW_MS).consumed) == {"b", "c"}


@pytest.mark.parametrize(("limit", "expected"), [(0, ""), (1, "a"), (3, "abc"), (5, "abcad"), (200, "abcadc")])
def test_shown_items_are_the_newest_in_any_arrival_order(limit: int, expected: str) -> None:
    """By time, then request, then place on the list, an item as often as it was shown."""
    for order in itertools.permutations(LISTS):
        users = UserTable(FeaturesConfig(exposure_length=limit))
        for request_id, time_ms, item_ids in order:
            users.add_shown("u", request_id, time_ms, item_ids)
        state = users.state("u", NOW_MS)
        assert "".join(state.shown_item_ids) == expected
        assert state.shown_times_ms.tolist() == [NOW_MS - 5] * min(limit, 4) + [NOW_MS - 9_000] * (len(expected) - 4)


def test_the_strongest_categories_are_kept() -> None:
    """As many as a row shows, most decayed events first; equal ones by name."""
    users = UserTable(FeaturesConfig(categories_per_user=2))
    for number, names in enumerate((("old",), ("b", "a"), ("c",), ("c",))):
        users.add_event(counted("i", NOW_MS - (number == 0) * 5_184_000_000, f"e{number}"), names, 0)
    assert users.state("u", NOW_MS).category_names == ("c", "a")


def test_being_shown_makes_nobody_known() -> None:
    """Only events do: a user who never reacted is cold, though not for what was shown."""
    users = UserTable(FeaturesConfig())
    users.add_shown("u", "r", NOW_MS, ["a"])
    state = users.state("u", NOW_MS)
    assert not state.is_known
    assert state.shown_item_ids == ("a",)
    assert not user_state_from_row("u", {"user_shown_item_ids": ["a"]}, set(), NOW_MS, FeaturesConfig()).is_known


def test_an_unknown_user_is_cold() -> None:
    """No rows are made by asking, and the declared part has its width."""
    state = UserTable(DECLARING).state("nobody", NOW_MS)
    assert not state.is_known
    assert state.counts.sum() == 0.0
    assert state.declared.shape == cold_user_state("x", DECLARING).declared.shape == (11,)


def test_a_restored_table_is_the_same_and_goes_on_alike() -> None:
    """Lists, histories and declared features of several users."""
    tables = [UserTable(DECLARING), UserTable(DECLARING)]
    for user_id in ("u", "v"):
        for event, categories, outcome in user_events()[:20]:
            tables[0].add_event(
                counted(event.item_id, event.event_time_ms, event.event_id, user_id), categories, outcome
            )
        tables[0].add_shown(user_id, *LISTS[0])
    tables[1].restore(tables[0].names(), tables[0].arrays())
    states = []
    for table in tables:
        table.add_shown("v", *LISTS[1])
        table.add_event(user_events()[30][0], ("war",), 1)
        states.append([table.state(user_id, NOW_MS) for user_id in ("u", "v")])
    for one, other in zip(*states, strict=True):
        assert (one.shown_item_ids, one.history_item_ids) == (other.shown_item_ids, other.history_item_ids)
        np.testing.assert_array_equal(one.declared, other.declared)
        np.testing.assert_array_equal(one.counts, other.counts)


def test_declared_features_of_one_user_are_not_anothers() -> None:
    """Rows follow users; the state is a copy."""
    users = UserTable(FeaturesConfig(declared={"user_views": DECLARED["user_views"]}))
    users.add_event(counted("i", NOW_MS, user_id="v", action="view"), (), 0)
    users.add_event(counted("i", NOW_MS, user_id="u", action="click"), (), 0)
    before: NDArray[np.float64] = users.state("v", NOW_MS).declared
    users.add_event(counted("i", NOW_MS, user_id="v", action="view"), (), 0)
    assert [before[1], users.state("v", NOW_MS).declared[1], users.state("u", NOW_MS).declared[1]] == [1.0, 2.0, 0.0]
