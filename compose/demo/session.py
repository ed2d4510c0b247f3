"""One run against a running stack: announce items, let users and visitors live, settle the books, sum up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compose.demo.baselines import SentEvent, counters_hits, popularity_hits
from compose.demo.compare import COUNTERS, FROZEN, LIVE, POPULARITY, Comparison, compare_methods
from compose.demo.data import DataSet
from compose.demo.feature_probe import FeatureFreshness, UserRowTimes
from compose.demo.freshness import SamplePlace, ServedFreshness, percentiles
from compose.demo.ledger import DEAD_LETTER, Ledger
from compose.demo.options import LATE_FROM, PROBE_SURFACE, DemoOptions
from compose.demo.pacing import PlannedEvent, Turn
from compose.demo.replay import Pace, ReplayedUsers, hit_rate, live_users
from compose.demo.stack_client import Ack, Answer, EventSender, RecommendClient, RequestFailedError
from compose.demo.stage_lags import StageLags
from compose.demo.topic_reader import AnnouncementSeen, DeadLetterSeen, SampleSeen, Seen, TopicReader
from compose.demo.view import DemoView, Snapshot
from compose.demo.visitors import VisitorTraffic
from features.config import NEUTRAL, AppConfig, Endpoints
from headrace_client import Event, Item

SHOW_EVERY_S = 0.5
FEATURE_SAMPLE_EVERY_S = 0.25
"""Between two events that are timed until their feature row is readable."""
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
    """

    def __init__(self, setup: SessionSetup, view: DemoView) -> None:
        self._setup = setup
        self._view = view
        self._items = {item.item_id: item for item in setup.data.items}
        self._popularity_hits = popularity_hits(setup.plan)
        self.ledger = Ledger()
        self._lags = StageLags(Path(setup.endpoints.state), self.ledger)
        self._served = ServedFreshness(time.perf_counter)
        self._pace = Pace()
        self._sent: list[SentEvent] = []
        self._samples: Counter[str] = Counter()
        self._timed_events: set[asyncio.Task[None]] = set()
        self._last_timed_s = 0.0
        self._frozen_version = ""
        self._started_s = 0.0
        self._replay_s = 0.0

    async def run(self) -> dict[str, Any]:
        """Run to the end and return the summary.

        Raises:
            RequestFailedError: Kafka did not take the items.
        """
        loop = asyncio.get_running_loop()
        reader = TopicReader(self._setup.endpoints.kafka, lambda seen: loop.call_soon_threadsafe(self._take_seen, seen))
        self._open_clients()
        try:
            await asyncio.to_thread(reader.start)
            await self._announce_items()
            await self._warm_up()
            await self._live()
            await self._settle()
            return await self._summarise()
        finally:
            await asyncio.to_thread(reader.stop)
            await self._close_clients()

    def _open_clients(self) -> None:
        setup, endpoints = self._setup, self._setup.endpoints
        self._clients = {LIVE_SERVER: RecommendClient(endpoints.serving)}
        if setup.frozen_address:
            self._clients[FROZEN_SERVER] = RecommendClient(setup.frozen_address)
        self._sender = EventSender(endpoints.kafka)
        self._row_times = UserRowTimes(endpoints.redis, setup.app.name.replace("-", "_"))
        self._features = FeatureFreshness(self._row_times.read)
        self._users = ReplayedUsers(
            self._clients, self._sender, len(setup.plan), setup.run_id, self._on_answer, self._on_ack, setup.user_suffix
        )
        self._visitors = VisitorTraffic(
            self._clients[LIVE_SERVER],
            self._sender,
            {item.item_id: item.categories for item in setup.data.items},
            setup.app.actions,
            setup.options.visitors_per_s * setup.options.speed,
            setup.run_id,
            setup.options.seed,
            self._on_answer,
            self._on_ack,
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
        """Wait until one neutral event has gone through the jobs into the store: the first of a new job takes seconds."""
        actions = self._setup.app.actions
        neutral = next((name for name, action in actions.items() if action.outcome_of(None) == NEUTRAL), None)
        if neutral is None:
            return
        started_s = time.perf_counter()
        user_id, now_ms = f"warm-up-{self._setup.run_id}", int(time.time() * 1000)
        event = Event(user_id, self._setup.data.items[0].item_id, neutral, event_id=user_id, event_time_ms=now_ms)
        await self._sender.send_event(event)
        self.ledger.acknowledge(user_id)
        while time.perf_counter() - started_s < WARM_UP_S:
            if self.ledger.num_open == 0 and min(await self._row_times.read(user_id)) >= now_ms:
                self._view.say(f"the first event went through the loop after {time.perf_counter() - started_s:.1f} s")
                return
            await asyncio.sleep(0.05)
        self._view.say(f"the first event has not gone through the loop after {WARM_UP_S:g} s; going on all the same")

    async def _live(self) -> None:
        """Let users and visitors act until the plan is done."""
        self._started_s = time.perf_counter()
        beside = [
            asyncio.create_task(work) for work in (self._visitors.run(), self._show(), self._watch(), self._freeze())
        ]
        try:
            await live_users(self._setup.plan, self._users.act, self._setup.options.speed, self._pace)
            self._replay_s = time.perf_counter() - self._started_s
            self._visitors.stop()
            await self._until(lambda: self._served.num_open == 0, LAST_VERSION_S)
        finally:
            for task in beside:
                task.cancel()
            outcomes = await asyncio.gather(*beside, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _settle(self) -> None:
        """Wait for the outcome of every acknowledged event."""
        if not await self._until(lambda: self.ledger.num_open == 0, SETTLE_S):
            self._view.say(f"{self.ledger.num_open} acknowledged events have no outcome after {SETTLE_S:g} s")
        for task in self._timed_events:
            task.cancel()

    async def _until(self, is_met: Callable[[], bool], timeout_s: float) -> bool:
        give_up_s = time.perf_counter() + timeout_s
        while not is_met() and time.perf_counter() < give_up_s:
            await asyncio.sleep(0.05)
        return is_met()

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SHOW_EVERY_S)
            self._view.show(self.snapshot())

    async def _watch(self) -> None:
        """Ask where nobody else did: the moment of a swap must not hide in a pause between two probes."""
        user_id = self._setup.plan[0].event.user_id + self._setup.user_suffix
        while True:
            await asyncio.sleep(QUIET_AFTER_S)
            if self._served.num_open and time.perf_counter() - self._served.last_reply_s > QUIET_AFTER_S:
                try:
                    self._on_answer(await self._clients[LIVE_SERVER].recommend(user_id, PROBE_SURFACE))
                except RequestFailedError:
                    continue

    async def _freeze(self) -> None:
        """Pin a server after the first 20 % of the events."""
        if self._setup.freeze is None:
            return
        while self._users.num_done < LATE_FROM * len(self._setup.plan):
            await asyncio.sleep(0.05)
        self._frozen_version = await asyncio.to_thread(self._setup.freeze)
        if not self._setup.frozen_address:
            self._served.freeze()
        self._view.say(f"frozen at version {self._frozen_version or 'none'} after {self._users.num_done:,} events")

    def _on_answer(self, answer: Answer) -> None:
        self._served.on_reply(answer.model_version)
        self._lags.on_reply(answer.model_version)

    def _on_ack(self, sent: SentEvent, ack: Ack) -> None:
        self._sent.append(sent)
        self.ledger.acknowledge(sent.event_id)
        self._served.track(sent.event_id, ack.acked_s)
        if ack.acked_s - self._last_timed_s >= FEATURE_SAMPLE_EVERY_S:
            self._last_timed_s = ack.acked_s
            task = asyncio.create_task(self._features.time_event(sent.user_id, sent.event_time_ms, ack.acked_s))
            self._timed_events.add(task)
            task.add_done_callback(self._timed_events.discard)

    def _take_seen(self, batch: list[Seen]) -> None:
        for seen in batch:
            match seen:
                case SampleSeen(event_id, kind, partition, offset):
                    self._samples[kind] += 1
                    self._lags.on_sample(partition, offset)
                    if event_id:
                        self.ledger.record_outcome(event_id, kind)
                        self._served.on_sample(event_id, SamplePlace(partition, offset))
                case DeadLetterSeen(event_id):
                    self.ledger.record_outcome(event_id, DEAD_LETTER)
                case AnnouncementSeen(version, next_offsets):
                    self._served.on_announcement(version, next_offsets)
                    self._lags.on_announcement(version, next_offsets)

    def snapshot(self) -> Snapshot:
        """Return the figures of now."""
        book, stats = self._users.books[LIVE_SERVER], self._clients[LIVE_SERVER].stats
        elapsed_s = time.perf_counter() - self._started_s
        versions = self._served.versions
        return Snapshot(
            elapsed_s=elapsed_s,
            events_done=self._users.num_done,
            events_planned=len(self._setup.plan),
            events_per_s=len(self._sent) / max(elapsed_s, 1e-9),
            hit_rate=hit_rate(book.hits, book.is_scored),
            popularity_hit_rate=hit_rate(self._popularity_hits, book.is_scored),
            scored=int(book.is_scored.sum()),
            coverage=self._coverage(),
            model_version=versions[-1] if versions else "",
            swaps=max(0, len(versions) - 1),
            event_to_feature_ms=percentiles(self._features.latencies_ms),
            event_to_served_ms=percentiles(self._served.latencies_ms),
            recommend_ms=percentiles(stats.latencies_ms),
            failed_requests=stats.num_failed,
            retried_requests=stats.num_retried,
            visitor_lists=self._visitors.stats.lists,
            visitor_clicks=self._visitors.stats.clicks,
            behind_s=self._pace.lag_s,
            stage_lags=self._lags.read(),
            restarts=self._setup.restarts(),
        )

    def _coverage(self) -> float:
        """Return the share of the catalogue that stood in a probed list."""
        return len(self._users.books[LIVE_SERVER].shown) / max(1, len(self._setup.data.items))

    async def _summarise(self) -> dict[str, Any]:
        book, stats = self._users.books[LIVE_SERVER], self._clients[LIVE_SERVER].stats
        late, versions, balance = book.late(), self._served.versions, self.ledger.balance()
        turns = Counter(planned.turn for planned in self._setup.plan)
        summary: dict[str, Any] = {
            "data": self._setup.data.name,
            "events": self._users.num_done,
            "scored": int(book.is_scored.sum()),
            "skipped_cold": turns[Turn.COLD],
            "skipped_repeated": turns[Turn.REPEATED],
            "hr@10": round(hit_rate(book.hits, book.is_scored), 5),
            "hr@10_late": round(hit_rate(book.hits, late), 5),
            "popularity_hr@10": round(hit_rate(self._popularity_hits, book.is_scored), 5),
            "popularity_hr@10_late": round(hit_rate(self._popularity_hits, late), 5),
            "coverage": round(self._coverage(), 5),
            "model_versions": len(versions),
            "newest_model_version": versions[-1] if versions else "",
            "swaps": max(0, len(versions) - 1),
            "event_to_feature_ms": {
                **percentiles(self._features.latencies_ms),
                "events": len(self._features.latencies_ms),
                "given_up": self._features.num_given_up,
            },
            "event_to_served_ms": {
                **percentiles(self._served.latencies_ms),
                "events": len(self._served.latencies_ms),
                "open": self._served.num_open,
            },
            "recommend_ms": {**percentiles(stats.latencies_ms), "requests": len(stats.latencies_ms)},
            "failed_requests": sum(client.stats.num_failed for client in self._clients.values()),
            "retried_requests": sum(client.stats.num_retried for client in self._clients.values()),
            "degraded": dict(stats.degraded),
            "visitor": self._visitors.stats.to_json(),
            "samples": dict(self._samples),
            "events_unsent": self._users.num_unsent,
            **{f"events_{name}" if name in ("acked", "accounted") else name: n for name, n in asdict(balance).items()},
            "restarts": dict(self._setup.restarts()),
            "largest_lag_s": round(self._pace.largest_lag_s, 2),
            "replay_s": round(self._replay_s, 2),
        }
        if self._setup.frozen_address:
            summary["compare"] = await self._compare(late)
        if self._frozen_version:
            summary["frozen_version"] = self._frozen_version
        return summary

    async def _compare(self, late: NDArray[np.bool_]) -> Comparison:
        """Replay what was sent through the counters-only method, and compare the four."""
        self._view.say("replaying the same events through the counters-only method …")
        counters = await asyncio.to_thread(
            counters_hits, self._sent, self._items, len(self._setup.plan), self._setup.app.features
        )
        both = late & self._users.books[FROZEN_SERVER].is_scored
        hits = {
            POPULARITY: self._popularity_hits,
            COUNTERS: counters,
            FROZEN: self._users.books[FROZEN_SERVER].hits,
            LIVE: self._users.books[LIVE_SERVER].hits,
        }
        return compare_methods(hits, both, self._frozen_version, self._setup.options.seed)
