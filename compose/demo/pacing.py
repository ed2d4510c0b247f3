"""Who acts when: a data set replayed at a human pace.

Users are admitted in the order of their first event, a fixed number active at a time; each acts about once a second
in its own order; when a user's events end, the next is admitted. The plan is a pure function of events and seed, so
that the live run and every baseline see one order.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from compose.demo.data import SourceEvent
from features.config import POSITIVE, ActionConfig

ACTIVE_USERS = 100
MEAN_GAP_S = 1.0
SMALLEST_GAP_S = 0.5
"""Gaps are uniform in [0.5, 1.5] s: people never act twice at once, whatever they have to catch up with."""


class Turn(Enum):
    """What the demo does at an event, by the rules of design 4.3."""

    SILENT = "silent"
    """Not positive: produced without a probe."""
    COLD = "cold"
    """Positive, but the user has no earlier event: probed, not scored."""
    REPEATED = "repeated"
    """Positive on an item the user already had an event with: probed, not scored."""
    SCORED = "scored"


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """One event in the common order."""

    index: int
    due_s: float
    """Seconds after the start, at speed 1."""
    event: SourceEvent
    outcome: int
    turn: Turn


def plan_events(
    events: Iterable[SourceEvent],
    actions: Mapping[str, ActionConfig],
    num_events: int,
    seed: int,
    active_users: int = ACTIVE_USERS,
) -> list[PlannedEvent]:
    """Lay the first `num_events` of the paced replay out in their common order."""
    plan: list[PlannedEvent] = []
    seen: dict[str, set[str]] = {}
    for due_s, event in _pace(_by_user(events), num_events, random.Random(seed), active_users):
        outcome = actions[event.action].outcome_of(event.value)
        consumed = seen.setdefault(event.user_id, set())
        plan.append(PlannedEvent(len(plan), due_s, event, outcome, _turn_of(outcome, event.item_id, consumed)))
        consumed.add(event.item_id)
    return plan


def _turn_of(outcome: int, item_id: str, consumed: set[str]) -> Turn:
    if outcome != POSITIVE:
        return Turn.SILENT
    if not consumed:
        return Turn.COLD
    return Turn.REPEATED if item_id in consumed else Turn.SCORED


def _by_user(events: Iterable[SourceEvent]) -> list[list[SourceEvent]]:
    """Group in time order; the groups stand in the order of their first event."""
    users: dict[str, list[SourceEvent]] = {}
    for event in sorted(events, key=lambda e: e.event_time_ms):
        users.setdefault(event.user_id, []).append(event)
    return list(users.values())


def _pace(
    users: Sequence[list[SourceEvent]], num_events: int, rng: random.Random, active_users: int
) -> Iterable[tuple[float, SourceEvent]]:
    """Yield (due_s, event) in order of time; ties go to the user admitted first."""
    admitted = min(active_users, len(users))
    waiting = [(rng.random() * MEAN_GAP_S, user, 0) for user in range(admitted)]
    heapq.heapify(waiting)
    for _ in range(num_events):
        if not waiting:
            return
        due_s, user, position = heapq.heappop(waiting)
        yield due_s, users[user][position]
        next_s = due_s + SMALLEST_GAP_S + rng.random() * 2 * (MEAN_GAP_S - SMALLEST_GAP_S)
        if position + 1 < len(users[user]):
            heapq.heappush(waiting, (next_s, user, position + 1))
        elif admitted < len(users):
            heapq.heappush(waiting, (next_s, admitted, 0))
            admitted += 1
