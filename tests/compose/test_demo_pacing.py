"""Laws of the replay's order."""

from __future__ import annotations

from itertools import pairwise

from compose.demo.data import SourceEvent
from compose.demo.pacing import MEAN_GAP_S, SMALLEST_GAP_S, Turn
from tests.compose.demo_parts import planned, rating

EVENTS = [rating(f"u{u}", f"i{n}", time_ms=1000 * n + u) for u in range(30) for n in range(3 + u % 5)]


def by_user(plan: list[SourceEvent]) -> dict[str, list[SourceEvent]]:
    """Group without changing the order."""
    users: dict[str, list[SourceEvent]] = {}
    for event in plan:
        users.setdefault(event.user_id, []).append(event)
    return users


def test_every_user_keeps_its_own_order() -> None:
    """A user's events come in the order of their original times."""
    for events in by_user([p.event for p in planned(EVENTS, active_users=7)]).values():
        assert [e.event_time_ms for e in events] == sorted(e.event_time_ms for e in events)


def test_every_event_is_planned_once() -> None:
    """The plan holds exactly the events of the data set, as long as it is not cut."""
    plan = planned(EVENTS, active_users=7)
    assert sorted((p.event.user_id, p.event.item_id) for p in plan) == sorted((e.user_id, e.item_id) for e in EVENTS)


def test_users_are_admitted_in_the_order_of_their_first_event() -> None:
    """Beyond those active from the start, first events come in order."""
    firsts = list(by_user([p.event for p in planned(EVENTS, active_users=1)]))
    assert firsts == [f"u{u}" for u in range(30)]


def test_no_more_users_are_active_than_allowed() -> None:
    """Between a user's first and last event at most six other users are between theirs."""
    plan = planned(EVENTS, active_users=7)
    first = {p.event.user_id: p.index for p in reversed(plan)}
    last = {p.event.user_id: p.index for p in plan}
    for index in range(len(plan)):
        assert sum(first[user] <= index <= last[user] for user in first) <= 7


def test_users_act_about_once_a_second() -> None:
    """Gaps of one user lie between half a second and one and a half."""
    times: dict[str, list[float]] = {}
    for p in planned(EVENTS):
        times.setdefault(p.event.user_id, []).append(p.due_s)
    gaps = [b - a for due in times.values() for a, b in pairwise(due)]
    assert min(gaps) >= SMALLEST_GAP_S
    assert max(gaps) <= 2 * MEAN_GAP_S - SMALLEST_GAP_S


def test_plan_is_in_order_of_time_and_the_same_for_the_same_seed() -> None:
    """The common order is a function of events and seed."""
    plan = planned(EVENTS)
    assert [p.due_s for p in plan] == sorted(p.due_s for p in plan)
    assert plan == planned(EVENTS)


def test_only_positives_with_history_on_new_items_are_scored() -> None:
    """The rules of design 4.3: cold, neutral and repeated turns are not scored."""
    events = [
        rating("u", "a", 5.0, 1),
        rating("u", "b", 3.0, 2),
        rating("u", "b", 5.0, 3),
        rating("u", "c", 4.0, 4),
    ]
    assert [p.turn for p in planned(events)] == [Turn.COLD, Turn.SILENT, Turn.REPEATED, Turn.SCORED]
