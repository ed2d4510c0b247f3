"""One run against a running stack: announce items, let users and visitors live, settle the books, sum up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compose.demo.baselines import counters_hits, popularity_hits
from compose.demo.compare import COUNTERS, FROZEN, LIVE, POPULARITY, Comparison, compare_methods
from compose.demo.data import DataSet
from compose.demo.feature_probe import UserRowTimes
from compose.demo.figures import RunFigures
from compose.demo.measurements import Measurements
from compose.demo.options import LATE_FROM, PROBE_SURFACE, DemoOptions
from compose.demo.pacing import PlannedEvent
from compose.demo.replay import Pace, ReplayedUsers, live_users
from compose.demo.stack_client import EventSender, RecommendClient, RequestFailedError
from compose.demo.topic_reader import TopicReader
from compose.demo.view import DemoView
from compose.demo.visitors import VisitorTraffic
from compose.serving_access import ServingAccess
from features.config import NEUTRAL, AppConfig, Endpoints
from features.security.role import Role
from headrace_client import Event, Item

SHOW_EVERY_S = 0.5
QUIET_AFTER_S = 0.03
"""Without a reply for this long a probe is sent, so that a swap is seen when it happens."""
WARM_UP_S = 60.0
"""How long the first event may take through jobs that have just been started."""
SETTLE_S = 60.0
"""How long the books may take to close: a killed TaskManager is silent for 13 s."""
LAST_VERSION_S = 5.0
"""How long the last events may take into served weights before the summary goes without them."""

LIVE_SERVER, FROZEN_SERVER = "live", "frozen"
Freeze = Callable[[], str]
"""Pins a server at its current version, and returns that."""


@dataclass(frozen=True)
class SessionSetup:
    """What a run works on."""

    options: DemoOptions
    app: AppConfig
    data: DataSet
    plan: Sequence[PlannedEvent]
    endpoints: Endpoints
    run_id: str
    user_suffix: str = ""
    frozen_address: str = ""
    """A second server to ask beside the live one, empty for none."""
    freeze: Freeze | None = None
    """Called (in a thread) after the first 20 % of the events."""
    restarts: Callable[[], Mapping[str, int]] = dict


class DemoSession:
    """A run with everything it measures.

    Args:
        setup: what to run on.
        view: where progress is shown.

    Raises:
        RequestFailedError: Kafka does not answer.
    """

    def __init__(self, setup: SessionSetup, view: DemoView) -> None:
        self._setup = setup
        self._view = view
        self._popularity_hits = popularity_hits(setup.plan)
        self._pace = Pace()
        self._frozen_version = ""

    async def run(self) -> dict[str, Any]:
        """Run to the end and return the summary; `compare` in it is a `Comparison`.

        Raises:
            RequestFailedError: Kafka did not take the items.
            StackError: the server that was to be frozen refused.
        """
        loop = asyncio.get_running_loop()
        self._open_clients()
        reader = TopicReader(
            self._setup.endpoints.kafka,
            lambda seen: loop.call_soon_threadsafe(self._measurements.note_seen, seen),
        )
        try:
            await asyncio.to_thread(reader.start)
            await self._announce_items()
            await self._warm_up()
            replay_s = await self._live()
            await self._settle()
            return await self._summarise(replay_s)
        finally:
            await asyncio.to_thread(reader.stop)
            await self._close_clients()

    def _open_clients(self) -> None:
        setup, endpoints, options = self._setup, self._setup.endpoints, self._setup.options
        access = ServingAccess.of(endpoints, Role.RECOMMEND)
        self._clients = {LIVE_SERVER: RecommendClient(endpoints.serving, access)}
        if setup.frozen_address:
            self._clients[FROZEN_SERVER] = RecommendClient(setup.frozen_address, access)
        self._sender = EventSender(endpoints.kafka)
        self._row_times = UserRowTimes(endpoints.redis_server, setup.app.name.replace("-", "_"))
        self._measurements = measured = Measurements(Path(endpoints.state), self._row_times.read)
        self._users = ReplayedUsers(
            self._clients,
            self._sender,
            len(setup.plan),
            setup.run_id,
            measured.note_answer,
            measured.note_ack,
            setup.user_suffix,
        )
        self._visitors = VisitorTraffic(
            self._clients[LIVE_SERVER],
            self._sender,
            {item.item_id: item.categories for item in setup.data.items},
            setup.app.actions,
            options.visitors_per_s * options.speed,
            setup.run_id,
            options.seed,
            measured.note_answer,
            measured.note_ack,
        )
        self._figures = self._read_figures()

    def _read_figures(self) -> RunFigures:
        return RunFigures(
            data_name=self._setup.data.name,
            num_items=len(self._setup.data.items),
            plan=self._setup.plan,
            popularity_hits=self._popularity_hits,
            book=self._users.books[LIVE_SERVER],
            stats=self._clients[LIVE_SERVER].stats,
            all_stats=[client.stats for client in self._clients.values()],
            visits=self._visitors.stats,
            pace=self._pace,
            measurements=self._measurements,
            restarts=self._setup.restarts,
        )

    async def _close_clients(self) -> None:
        for client in self._clients.values():
            await client.close()
        await self._row_times.close()
        await self._sender.close()

    async def _announce_items(self) -> None:
        """Announce the whole catalogue before the first event: an item announced just before it is chosen is a hint.

        Publication times move with the replay: what was new to the first user then is new to the first user now.
        """
        now_ms = int(time.time() * 1000)
        shift_ms = now_ms - min(event.event_time_ms for event in self._setup.data.events)
        items = [
            Item(
                item_id=item.item_id,
                title=item.title,
                categories=item.categories,
                published_time_ms=min(now_ms, item.published_time_ms + shift_ms) if item.published_time_ms else 0,
            )
            for item in self._setup.data.items
        ]
        await asyncio.gather(*(self._sender.send_item(item) for item in items))

    async def _warm_up(self) -> None:
        """Wait until one neutral event has gone through the jobs into the store: a new job's first takes seconds."""
        actions = self._setup.app.actions
        neutral = next((name for name, action in actions.items() if action.outcome_of(None) == NEUTRAL), None)
        if neutral is None:
            return
        started_s = time.perf_counter()
        user_id, now_ms = f"warm-up-{self._setup.run_id}", int(time.time() * 1000)
        event = Event(user_id, self._setup.data.items[0].item_id, neutral, event_id=user_id, event_time_ms=now_ms)
        await self._sender.send_event(event)
        self._measurements.ledger.acknowledge(user_id)
        while time.perf_counter() - started_s < WARM_UP_S:
            if self._measurements.ledger.num_open == 0 and min(await self._row_times.read(user_id)) >= now_ms:
                self._view.say(f"the first event went through the loop after {time.perf_counter() - started_s:.1f} s")
                return
            await asyncio.sleep(0.05)
        self._view.say(f"the first event has not gone through the loop after {WARM_UP_S:g} s; going on all the same")

    async def _live(self) -> float:
        """Let users and visitors act until the plan is done; return how long that took in seconds."""
        started_s = time.perf_counter()
        works = (self._visitors.run(), self._show(started_s), self._watch(), self._freeze())
        beside = [asyncio.create_task(work) for work in works]
        try:
            await live_users(self._setup.plan, self._users.act, self._setup.options.speed, self._pace)
            replay_s = time.perf_counter() - started_s
            self._visitors.stop()
            await _until(lambda: self._measurements.served.num_open == 0, LAST_VERSION_S)
        finally:
            for task in beside:
                task.cancel()
            outcomes = await asyncio.gather(*beside, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return replay_s

    async def _show(self, started_s: float) -> None:
        while True:
            await asyncio.sleep(SHOW_EVERY_S)
            self._view.show(self._figures.snapshot(time.perf_counter() - started_s, self._users.num_done))

    async def _watch(self) -> None:
        """Ask where nobody else did: the moment of a swap must not hide in a pause between two probes."""
        user_id = self._setup.plan[0].event.user_id + self._setup.user_suffix
        served = self._measurements.served
        while True:
            await asyncio.sleep(QUIET_AFTER_S)
            if served.num_open and time.perf_counter() - served.last_reply_s > QUIET_AFTER_S:
                with suppress(RequestFailedError):
                    self._measurements.note_answer(await self._clients[LIVE_SERVER].recommend(user_id, PROBE_SURFACE))

    async def _freeze(self) -> None:
        """Pin a server after the first 20 % of the events."""
        if self._setup.freeze is None:
            return
        while self._users.num_done < LATE_FROM * len(self._setup.plan):
            await asyncio.sleep(0.05)
        self._frozen_version = await asyncio.to_thread(self._setup.freeze)
        if not self._setup.frozen_address:
            self._measurements.served.freeze()
        self._view.say(f"frozen at version {self._frozen_version or 'none'} after {self._users.num_done:,} events")

    async def _settle(self) -> None:
        """Wait for the outcome of every acknowledged event."""
        ledger = self._measurements.ledger
        if not await _until(lambda: ledger.num_open == 0, SETTLE_S):
            self._view.say(f"{ledger.num_open} acknowledged events have no outcome after {SETTLE_S:g} s")
        self._measurements.stop_timing()

    async def _summarise(self, replay_s: float) -> dict[str, Any]:
        summary = self._figures.summary(self._users.num_done, self._users.num_unsent, replay_s)
        if self._frozen_version:
            summary["frozen_version"] = self._frozen_version
        if self._setup.frozen_address:
            summary["compare"] = await self._compare()
        return summary

    async def _compare(self) -> Comparison:
        """Replay what was sent through the counters-only method, and compare the four."""
        self._view.say("replaying the same events through the counters-only method …")
        items = {item.item_id: item for item in self._setup.data.items}
        counters = await asyncio.to_thread(
            counters_hits, self._measurements.sent, items, len(self._setup.plan), self._setup.app.features
        )
        live, frozen = self._users.books[LIVE_SERVER], self._users.books[FROZEN_SERVER]
        hits = {POPULARITY: self._popularity_hits, COUNTERS: counters, FROZEN: frozen.hits, LIVE: live.hits}
        return compare_methods(hits, live.late(), self._frozen_version, self._setup.options.seed)


async def _until(is_met: Callable[[], bool], timeout_s: float) -> bool:
    give_up_s = time.perf_counter() + timeout_s
    while not is_met() and time.perf_counter() < give_up_s:
        await asyncio.sleep(0.05)
    return is_met()
