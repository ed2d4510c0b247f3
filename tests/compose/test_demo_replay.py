"""Laws of the replayed users and the visitors, on fakes."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np

from compose.demo.baselines import SentEvent
from compose.demo.click_model import Visitor
from compose.demo.pacing import SMALLEST_GAP_S, PlannedEvent, Turn
from compose.demo.replay import HitBook, Pace, ReplayedUsers, event_of, hit_rate, live_users
from compose.demo.stack_client import Ack, Answer
from compose.demo.visitors import VisitorTraffic
from tests.compose.demo_parts import ACTIONS, FakeClock, FakeSender, FakeServer, planned, rating

PLAN = planned([rating("u", "a", 5.0, 1), rating("u", "b", 4.0, 2), rating("u", "c", 2.0, 3)])


def users_on(server: FakeServer, sender: FakeSender, acked: list[SentEvent], suffix: str = "") -> ReplayedUsers:
    """Return the users with one live server."""

    def on_ack(sent: SentEvent, ack: Ack) -> None:
        acked.append(sent)

    return ReplayedUsers({"live": server}, sender, len(PLAN), "run", lambda answer: None, on_ack, suffix)


async def test_a_user_never_acts_before_its_last_act_is_done() -> None:
    """A stack slower than the users delays them; it does not reorder them."""
    clock, acts = FakeClock(), list[tuple[float, str]]()

    async def act(event: PlannedEvent) -> None:
        acts.append((clock(), event.event.item_id))
        clock.now_s += 5.0

    pace = Pace()
    await live_users(PLAN, act, 1.0, pace, clock, clock.sleep)
    assert [item for _, item in acts] == ["a", "b", "c"]
    assert all(b - a >= 5.0 for (a, _), (b, _) in pairwise(acts))
    assert pace.largest_lag_s > 5.0


async def test_a_late_user_catches_up_at_no_more_than_twice_the_pace() -> None:
    """After one slow act, the next come at the smallest gap, not all at once."""
    clock, acts = FakeClock(), list[float]()
    plan = planned([rating("u", f"i{n}", 5.0, n) for n in range(30)])

    async def act(event: PlannedEvent) -> None:
        acts.append(clock())
        clock.now_s += 10.0 if event.index == 0 else 0.0

    await live_users(plan, act, 1.0, Pace(), clock, clock.sleep)
    assert min(np.diff(acts)) >= SMALLEST_GAP_S - 1e-9
    assert acts[-1] - plan[-1].due_s < 1.0


async def test_speed_shortens_the_gaps() -> None:
    """At speed 4 the same plan takes a quarter of the time."""
    clock, acts = FakeClock(), list[float]()

    async def act(event: PlannedEvent) -> None:
        acts.append(clock())

    await live_users(PLAN, act, 4.0, Pace(), clock, clock.sleep)
    assert acts == [p.due_s / 4.0 for p in PLAN]


async def test_every_positive_is_probed_on_the_probe_surface_before_it_is_sent() -> None:
    """Cold positives too; neutral ratings are sent without a probe."""
    server, sender = FakeServer(["b"]), FakeSender()
    users = users_on(server, sender, [])
    for event in PLAN:
        await users.act(event)
    assert server.asked == [("u", "probe"), ("u", "probe")]
    assert [event.item_id for event in sender.sent] == ["a", "b", "c"]
    assert users.books["live"].hits.tolist() == [False, True, False]
    assert users.books["live"].is_scored.tolist() == [p.turn is Turn.SCORED for p in PLAN]


async def test_a_failed_request_is_a_miss_and_the_event_is_sent_all_the_same() -> None:
    """People act whether or not they saw a list."""
    sender, acked = FakeSender(), list[SentEvent]()
    users = users_on(FakeServer(is_dead=True), sender, acked)
    for event in PLAN:
        await users.act(event)
    assert users.books["live"].is_scored.sum() == 1
    assert not users.books["live"].hits.any()
    assert [sent.event_id for sent in acked] == ["run-0", "run-1", "run-2"]


def test_events_are_stamped_now_and_keep_their_original() -> None:
    """The original time stands in the context."""
    sent = SentEvent("u-run", "a", "run-0", 5000, outcome=1)
    event = event_of(sent, PLAN[0].event)
    assert (event.user_id, event.event_time_ms, event.value) == ("u-run", 5000, 5.0)
    assert event.context == {"original_event_time_ms": "1"}


def test_late_figures_leave_out_the_first_fifth() -> None:
    """Scored events from 20 % of the plan on."""
    book = HitBook(10)
    book.is_scored[:] = True
    book.hits[[0, 5]] = True
    assert book.late().tolist() == [False] * 2 + [True] * 8
    assert hit_rate(book.hits, book.late()) == 1 / 8
    assert hit_rate(book.hits, np.zeros(10, dtype=np.bool_)) == 0.0


async def test_visitors_react_with_the_request_id_of_their_list() -> None:
    """What they send joins what they were shown, in their own name and never twice with one id."""
    clock, sender, answers = FakeClock(), FakeSender(), list[Answer]()
    server = FakeServer([f"i{n}" for n in range(10)])
    traffic = VisitorTraffic(
        server,
        sender,
        {f"i{n}": ("Drama",) for n in range(10)},
        ACTIONS,
        visits_per_s=10.0,
        run_id="run",
        seed=1,
        on_answer=answers.append,
        on_ack=lambda sent, ack: None,
        sleep=clock.sleep,
    )
    for _ in range(100):
        await traffic.visit(Visitor("visitor-1", frozenset({"Drama"})))
    assert {event.request_id for event in sender.sent} == {"request"}
    assert {event.user_id for event in sender.sent} == {"visitor-1"}
    assert {surface for _, surface in server.asked} == {"default"}
    assert (traffic.stats.lists, traffic.stats.events) == (len(answers), len(sender.sent))
    assert traffic.stats.clicks > 20


async def test_visits_end_when_told_to() -> None:
    """`stop` lets `run` return by itself; open visits leave out what they have not done yet."""
    traffic: VisitorTraffic

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)
        if traffic.stats.lists >= 5:
            traffic.stop()

    server = FakeServer(["a"])
    traffic = VisitorTraffic(
        server, FakeSender(), {}, ACTIONS, 10.0, "run", 1, lambda answer: None, lambda sent, ack: None, sleep
    )
    await traffic.run()
    assert traffic.stats.lists >= 5
