"""A file's events arrive as if they happened now, with the file's own spacing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from compose.replay import pace, replay_events, restamp
from compose.replay_file import read_events
from headrace_client import Ack, Event
from tests.compose.events_files import native_options, write_jsonl


class FakeProducer:
    """Acknowledges every event at once, but for the numbers it is told to fail."""

    def __init__(self, failing: frozenset[int] = frozenset()) -> None:
        self.events: list[Event] = []
        self.failing = failing
        self.is_flushed = False

    def send(self, event: Event) -> Future[Ack]:
        """Keep the event."""
        self.events.append(event)
        future: Future[Ack] = Future()
        if len(self.events) in self.failing:
            future.set_exception(OSError("lost"))
        else:
            future.set_result(Ack(0, len(self.events), 0))
        return future

    def flush(self) -> None:
        """Note the call."""
        self.is_flushed = True


class FakeClock:
    """Moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Say what time it is."""
        return self.now_s

    def sleep(self, wait_s: float) -> None:
        """Move on."""
        self.now_s += wait_s


def test_a_replay_takes_the_events_in_time_order(tmp_path: Path) -> None:
    """Whatever their order in the file."""
    rows = [{"user_id": "u", "item_id": "i", "action": "click", "event_time_ms": ms} for ms in (3000, 1000, 2000)]
    events, survey = read_events(write_jsonl(tmp_path / "e.jsonl", rows), native_options())
    assert [event.event_time_ms for event in events] == [1000, 2000, 3000]
    assert (survey.rows, survey.events) == (3, 3)


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 60.0), (30.0, 2.0), (0.0, 0.0)])
def test_the_file_s_own_spacing_is_kept(speed: float, seconds: float) -> None:
    """Divided by the speed."""
    clock = FakeClock()
    events = [Event("u1", "i1", "click", event_time_ms=ms) for ms in (5_000, 35_000, 65_000)]
    assert list(pace(events, speed, clock, clock.sleep)) == events
    assert clock.now_s - 100.0 == pytest.approx(seconds)


def test_a_replayed_event_happens_now() -> None:
    """Its own time is kept in the context."""
    event = restamp(Event("u1", "i1", "click", event_time_ms=5, context={"page": "a"}), now_ms=99)
    assert (event.event_time_ms, event.context) == (99, {"page": "a", "original_time_ms": "5"})


def test_the_summary_counts_what_kafka_has() -> None:
    """A lost event is an exit code."""
    events = [Event("u1", "i1", "click", event_time_ms=ms) for ms in range(5)]
    producer, sent = FakeProducer(failing=frozenset({2})), list[int]()
    summary = replay_events(events, producer, 0.0, sent.append)
    assert (summary.acknowledged, summary.failed, summary.exit_code) == (4, 1, 1)
    assert (sent, producer.is_flushed) == ([1, 2, 3, 4, 5], True)


def test_an_interrupted_replay_waits_for_what_it_sent() -> None:
    """Ctrl-C after the first event."""

    def interrupted(events: Iterable[Event], speed: float) -> Iterator[Event]:
        yield next(iter(events))
        raise KeyboardInterrupt

    events = [Event("u1", "i1", "click", event_time_ms=ms) for ms in range(5)]
    producer = FakeProducer()
    summary = replay_events(events, producer, 0.0, lambda _: None, interrupted)
    assert (summary.acknowledged, summary.exit_code, producer.is_flushed) == (1, 130, True)


def test_given_fields_reach_kafka_unchanged() -> None:
    """All but the time."""
    event = Event("u1", "i1", "click", 2.0, "r1", "s1", {}, "e1", 5, "t1")
    producer = FakeProducer()
    replay_events([event], producer, 0.0, lambda _: None)
    assert replace(producer.events[0], event_time_ms=5, context={}) == event
