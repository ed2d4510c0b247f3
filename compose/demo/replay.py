"""The replayed users: each acts in its own order at its own pace, probing before every positive event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compose.demo.baselines import SentEvent
from compose.demo.data import SourceEvent
from compose.demo.options import LATE_FROM, PROBE_SURFACE
from compose.demo.pacing import SMALLEST_GAP_S, PlannedEvent, Turn
from compose.demo.stack_client import Ack, Answer, Recommends, RequestFailedError, SendsEvents
from headrace_client import Event

LAG_SAID_FROM_S = 2.0
"""Below this nobody notices that the users act late."""

OnAnswer = Callable[[Answer], None]
OnAck = Callable[[SentEvent, Ack], None]
Act = Callable[[PlannedEvent], Awaitable[None]]


@dataclass
class Pace:
    """How well the stack keeps up with the users."""

    lag_s: float = 0.0
    """How late the latest event started."""
    largest_lag_s: float = 0.0

    def note(self, lag_s: float) -> None:
        """Note how late an event starts."""
        self.lag_s = max(0.0, lag_s)
        self.largest_lag_s = max(self.largest_lag_s, self.lag_s)


async def live_users(
    plan: Sequence[PlannedEvent],
    act: Act,
    speed: float,
    pace: Pace,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Let every user act out its events: when due, never before the one before is done, never twice at once.

    A slow stack delays users, it does not reorder them; behind, they catch up at most at twice their pace.
    """
    users: dict[str, list[PlannedEvent]] = {}
    for planned in plan:
        users.setdefault(planned.event.user_id, []).append(planned)
    started_s = clock()

    async def live(events: Sequence[PlannedEvent]) -> None:
        not_before_s = started_s
        for planned in events:
            due_s = started_s + planned.due_s / speed
            await sleep(max(0.0, max(due_s, not_before_s) - clock()))
            now_s = clock()
            pace.note(now_s - due_s)
            not_before_s = now_s + SMALLEST_GAP_S / speed
            await act(planned)

    async with asyncio.TaskGroup() as group:
        for events in users.values():
            group.create_task(live(events))


@dataclass
class HitBook:
    """Hits per planned event, and what was shown."""

    size: int
    hits: NDArray[np.bool_] = field(init=False)
    is_scored: NDArray[np.bool_] = field(init=False)
    """Of the events probed so far."""
    shown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.hits = np.zeros(self.size, dtype=np.bool_)
        self.is_scored = np.zeros(self.size, dtype=np.bool_)

    def note(self, planned: PlannedEvent, item_ids: Sequence[str]) -> None:
        """Note the list (empty where the request failed: a miss) that stood before the user's choice."""
        self.shown.update(item_ids)
        if planned.turn is Turn.SCORED:
            self.is_scored[planned.index] = True
            self.hits[planned.index] = planned.event.item_id in item_ids

    def late(self) -> NDArray[np.bool_]:
        """Mark the scored events of the last 80 %, shape (size,)."""
        return self.is_scored & (np.arange(self.size) >= LATE_FROM * self.size)


def hit_rate(hits: NDArray[np.bool_], where: NDArray[np.bool_]) -> float:
    """Return the share of hits among the marked events, 0 where none is marked."""
    return float(hits[where].mean()) if where.any() else 0.0


class ReplayedUsers:
    """What a replayed user does at an event: probe (all servers at once), compare, produce, wait for Kafka.

    Args:
        servers: by name; the first is the live one.
        sender: where events go.
        num_planned: length of the plan.
        run_id: makes event ids unique; set `user_suffix` too where users may have lived on this stack before.
        on_answer: told every answer of the live server.
        on_ack: told every acknowledged event.
        user_suffix: appended to user ids.
    """

    def __init__(
        self,
        servers: Mapping[str, Recommends],
        sender: SendsEvents,
        num_planned: int,
        run_id: str,
        on_answer: OnAnswer,
        on_ack: OnAck,
        user_suffix: str = "",
    ) -> None:
        self._servers = servers
        self._sender = sender
        self._run_id = run_id
        self._on_answer = on_answer
        self._on_ack = on_ack
        self._user_suffix = user_suffix
        self.books = {name: HitBook(num_planned) for name in servers}
        self.num_done = 0
        self.num_unsent = 0

    async def act(self, planned: PlannedEvent) -> None:
        """Live through one planned event; a failed request is a miss, a failed sending is counted."""
        if planned.turn is not Turn.SILENT:
            await asyncio.gather(*(self._probe(name, planned) for name in self._servers))
        try:
            await self._produce(planned)
        except RequestFailedError:
            self.num_unsent += 1
        self.num_done += 1

    async def _probe(self, name: str, planned: PlannedEvent) -> None:
        try:
            answer = await self._servers[name].recommend(self.user_id(planned), PROBE_SURFACE)
        except RequestFailedError:
            self.books[name].note(planned, ())
            return
        if name == next(iter(self._servers)):
            self._on_answer(answer)
        self.books[name].note(planned, answer.item_ids)

    async def _produce(self, planned: PlannedEvent) -> None:
        source = planned.event
        sent = SentEvent(
            user_id=self.user_id(planned),
            item_id=source.item_id,
            event_id=f"{self._run_id}-{planned.index}",
            event_time_ms=int(time.time() * 1000),
            outcome=planned.outcome,
            scored_index=planned.index if planned.turn is Turn.SCORED else -1,
        )
        ack = await self._sender.send_event(event_of(sent, source))
        self._on_ack(sent, ack)

    def user_id(self, planned: PlannedEvent) -> str:
        """Return the id under which the user acts here."""
        return planned.event.user_id + self._user_suffix


def event_of(sent: SentEvent, source: SourceEvent) -> Event:
    """Build the event: stamped with the time it is sent, the original kept in the context."""
    context = {**source.context, "original_event_time_ms": str(source.event_time_ms)}
    if source.event_id:
        context["original_event_id"] = source.event_id
    return Event(
        user_id=sent.user_id,
        item_id=sent.item_id,
        action=source.action,
        value=source.value,
        session_id=source.session_id,
        context=context,
        event_id=sent.event_id,
        event_time_ms=sent.event_time_ms,
    )
