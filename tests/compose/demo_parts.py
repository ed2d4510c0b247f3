"""Small real inputs and hand-written fakes for the demo's tests."""

from __future__ import annotations

from collections.abc import Sequence

from compose.demo.data import SourceEvent
from compose.demo.pacing import PlannedEvent, plan_events
from compose.demo.stack_client import Ack, Answer, RequestFailedError
from features.config import ActionConfig
from headrace_client import Event

ACTIONS = {
    "rating": ActionConfig(positive_when="value >= 4"),
    "view": ActionConfig(),
    "click": ActionConfig(outcome="positive"),
    "like": ActionConfig(outcome="positive", reward=2.0),
}


def rating(user: str, item: str, stars: float = 5.0, time_ms: int = 0) -> SourceEvent:
    """Return a rating; four stars or more are positive."""
    return SourceEvent(user, item, "rating", time_ms, stars)


def planned(events: Sequence[SourceEvent], num_events: int = 10_000, active_users: int = 100) -> list[PlannedEvent]:
    """Plan events with a fixed seed."""
    return plan_events(events, ACTIONS, num_events, seed=1, active_users=active_users)


class FakeClock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return now in seconds."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.now_s += seconds


class FakeServer:
    """Answers every request with the same list, or fails."""

    def __init__(self, item_ids: Sequence[str] = (), model_version: str = "1.1", is_dead: bool = False) -> None:
        self.answer = Answer(tuple(item_ids), "request", model_version, ())
        self.is_dead = is_dead
        self.asked: list[tuple[str, str]] = []

    async def recommend(self, user_id: str, surface: str) -> Answer:
        """Return the list."""
        self.asked.append((user_id, surface))
        if self.is_dead:
            raise RequestFailedError("dead")
        return self.answer


class FakeSender:
    """Acknowledges every event at once."""

    def __init__(self) -> None:
        self.sent: list[Event] = []

    async def send_event(self, event: Event) -> Ack:
        """Keep the event."""
        self.sent.append(event)
        return Ack(acked_s=0.0)
