"""Simulated visitors on a second surface: served lists, joins and corrections carry real traffic through them.

Their number is kept small against the replayed users, and they have ids of their own: what they click moves the item
counters a little (a few per cent of the positives), nothing else.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from compose.demo.baselines import SentEvent
from compose.demo.click_model import Reaction, Visitor, make_visitors, react
from compose.demo.options import VISITOR_SURFACE
from compose.demo.replay import OnAck, OnAnswer
from compose.demo.stack_client import Answer, Recommends, RequestFailedError, SendsEvents
from features.config import ActionConfig
from headrace_client import Event

NUM_VISITORS = 300
MOST_AT_ONCE = 50
"""Visits beyond this are not begun: a stack that stands still must not be buried."""


@dataclass
class VisitStats:
    """What the visitors did."""

    lists: int = 0
    clicks: int = 0
    likes: int = 0
    views: int = 0
    failed: int = 0

    @property
    def events(self) -> int:
        """Events sent."""
        return self.clicks + self.likes + self.views

    def to_json(self) -> dict[str, float]:
        """Return the figures for the summary."""
        return {
            "lists": self.lists,
            "events": self.events,
            "views": self.views,
            "clicks": self.clicks,
            "likes": self.likes,
            "clicks_per_list": round(self.clicks / self.lists, 4) if self.lists else 0.0,
            "failed": self.failed,
        }

    def count(self, action: str) -> None:
        """Count one reaction."""
        self.clicks += action == "click"
        self.likes += action == "like"
        self.views += action == "view"


class VisitorTraffic:
    """Visits in a Poisson stream until told to stop.

    Args:
        server: who is asked for lists.
        sender: where the reactions go.
        categories: genres of every item.
        actions: those of `headrace.yaml`; reactions that are not declared there are not sent.
        visits_per_s: mean rate of visits.
        run_id: makes event ids unique.
        seed: of tastes, arrivals and clicks.
        on_answer: told every answer.
        on_ack: told every acknowledged event.
        sleep: waits; replaced in tests.
    """

    def __init__(
        self,
        server: Recommends,
        sender: SendsEvents,
        categories: Mapping[str, Sequence[str]],
        actions: Mapping[str, ActionConfig],
        visits_per_s: float,
        run_id: str,
        seed: int,
        on_answer: OnAnswer,
        on_ack: OnAck,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server = server
        self._sender = sender
        self._categories = categories
        self._actions = actions
        self._visits_per_s = visits_per_s
        self._run_id = run_id
        self._rng = random.Random(seed)
        self._on_answer = on_answer
        self._on_ack = on_ack
        self._sleep = sleep
        genres = sorted({genre for item in categories.values() for genre in item})
        self._visitors = make_visitors(NUM_VISITORS, genres, self._rng, f"visitor-{run_id}")
        self._open: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self.stats = VisitStats()

    async def run(self) -> None:
        """Send visits until `stop`; cancelling ends the open ones too."""
        try:
            while not self._is_stopping and self._visits_per_s > 0:
                await self._sleep(self._rng.expovariate(self._visits_per_s))
                if len(self._open) < MOST_AT_ONCE:
                    task = asyncio.create_task(self.visit(self._rng.choice(self._visitors)))
                    self._open.add(task)
                    task.add_done_callback(self._open.discard)
            await asyncio.gather(*self._open)
        finally:
            for task in self._open:
                task.cancel()

    def stop(self) -> None:
        """Begin no further visit; open ones leave out what they have not done yet."""
        self._is_stopping = True

    async def visit(self, visitor: Visitor) -> None:
        """Look at one list and react to it."""
        try:
            answer = await self._server.recommend(visitor.user_id, VISITOR_SURFACE)
            self._on_answer(answer)
            self.stats.lists += 1
            await self._react(visitor, answer)
        except RequestFailedError:
            self.stats.failed += 1

    async def _react(self, visitor: Visitor, answer: Answer) -> None:
        categories = [self._categories.get(item_id, ()) for item_id in answer.item_ids]
        now_s = 0.0
        for number, reaction in enumerate(react(visitor, answer.item_ids, categories, self._rng)):
            await self._sleep(reaction.after_s - now_s)
            now_s = reaction.after_s
            if self._is_stopping:
                return
            if reaction.action in self._actions:
                await self._send(visitor, answer, number, reaction)

    async def _send(self, visitor: Visitor, answer: Answer, number: int, reaction: Reaction) -> None:
        sent = SentEvent(
            user_id=visitor.user_id,
            item_id=reaction.item_id,
            event_id=f"{self._run_id}-{answer.request_id}-{number}",
            event_time_ms=int(time.time() * 1000),
            outcome=self._actions[reaction.action].outcome_of(None),
        )
        ack = await self._sender.send_event(
            Event(
                user_id=sent.user_id,
                item_id=sent.item_id,
                action=reaction.action,
                request_id=answer.request_id,
                request_token=answer.request_token,
                event_id=sent.event_id,
                event_time_ms=sent.event_time_ms,
            )
        )
        self.stats.count(reaction.action)
        self._on_ack(sent, ack)
