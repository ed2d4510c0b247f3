"""Progress tells only of what Kafka acknowledged without a gap, and little is sent twice after a kill."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from compose.backfill_progress import BackfillProgress
from compose.backfill_sender import SAVE_ROWS, WINDOW_ROWS, BackfillSender
from headrace_client import Ack, Event, NotAcknowledgedError

Rows = list[tuple[int, list[Event]]]


class ScriptedProducer:
    """Acknowledges what it is told to, at once or at the flush."""

    def __init__(self, is_slow: bool = False) -> None:
        self.events: list[Event] = []
        self.futures: list[Future[Ack]] = []
        self.is_slow = is_slow

    def send_history(self, event: Event) -> Future[Ack]:
        """Keep the event."""
        self.events.append(event)
        self.futures.append(Future())
        if not self.is_slow:
            self.acknowledge(-1)
        return self.futures[-1]

    def acknowledge(self, number: int) -> None:
        """Acknowledge one event."""
        self.futures[number].set_result(Ack(0, number, 0))

    def flush(self) -> None:
        """Acknowledge what is left."""
        for future in self.futures:
            if not future.done():
                future.set_result(Ack(0, 0, 0))


def rows_of(count: int, events_per_row: int = 1) -> Rows:
    """Rows of a file."""
    return [
        (row, [Event("u", f"{row}-{n}", "click", event_id=f"{row}-{n}") for n in range(events_per_row)])
        for row in range(1, count + 1)
    ]


def sender_with(producer: ScriptedProducer, saved: list[BackfillProgress], start: int = 0) -> BackfillSender:
    """A sender whose progress goes to a list."""
    return BackfillSender(producer, BackfillProgress(start, start), saved.append, lambda _row: None)


@pytest.fixture
def heeded_sigint() -> Iterator[None]:
    """SIGINT as a terminal sends it, also where the run itself is a background job that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_finished_file_is_marked_so() -> None:
    """Rows that make no event count as done."""
    producer, saved = ScriptedProducer(), list[BackfillProgress]()
    sender_with(producer, saved).send([*rows_of(3, events_per_row=2), (4, [])])
    assert saved[-1] == BackfillProgress(4, 6, is_finished=True)
    assert len(producer.events) == 6


def test_what_earlier_runs_sent_is_not_sent_again() -> None:
    """It goes on behind the last acknowledged row."""
    producer, saved = ScriptedProducer(), list[BackfillProgress]()
    sender_with(producer, saved, start=7).send(rows_of(10))
    assert [event.event_id for event in producer.events] == ["8-0", "9-0", "10-0"]
    assert saved[-1] == BackfillProgress(10, 10, is_finished=True)


def test_progress_stops_at_a_gap() -> None:
    """Later acknowledgements do not carry it over an event that is still on its way, or lost."""
    producer, saved = ScriptedProducer(is_slow=True), list[BackfillProgress]()

    def rows() -> Iterator[tuple[int, list[Event]]]:
        yield from rows_of(4)
        for number in (0, 1, 3):
            producer.acknowledge(number)
        producer.futures[2].set_exception(NotAcknowledgedError("lost"))
        yield 5, []

    with pytest.raises(NotAcknowledgedError, match="lost"):
        sender_with(producer, saved).send(rows())
    assert saved[-1] == BackfillProgress(2, 2, is_finished=False)


def test_a_row_is_done_when_all_of_its_events_are() -> None:
    """Half a purchase is no purchase."""
    producer, saved = ScriptedProducer(is_slow=True), list[BackfillProgress]()

    def rows() -> Iterator[tuple[int, list[Event]]]:
        yield from rows_of(2, events_per_row=2)
        for number in (0, 1, 2):
            producer.acknowledge(number)
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        sender_with(producer, saved).send(rows())
    assert saved[-1] == BackfillProgress(1, 2)


def test_ctrl_c_waits_for_what_was_sent() -> None:
    """And writes it down."""
    producer, saved = ScriptedProducer(is_slow=True), list[BackfillProgress]()

    def rows() -> Iterator[tuple[int, list[Event]]]:
        yield from rows_of(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sender_with(producer, saved).send(rows())
    assert saved[-1] == BackfillProgress(3, 3)


def test_ctrl_c_in_the_middle_of_a_send_does_not_forget_it(heeded_sigint: None) -> None:
    """The event has left already when the signal comes: its row is noted, and not sent again."""

    class Interrupted(ScriptedProducer):
        def send_history(self, event: Event) -> Future[Ack]:
            """Be interrupted when the second event is on its way."""
            future = super().send_history(event)
            if len(self.events) == 2:
                signal.raise_signal(signal.SIGINT)
            return future

    producer, saved = Interrupted(is_slow=True), list[BackfillProgress]()
    with pytest.raises(KeyboardInterrupt):
        sender_with(producer, saved).send(rows_of(5))
    assert saved[-1] == BackfillProgress(2, 2)
    assert len(producer.events) == 2


def test_the_tail_that_a_kill_repeats_is_bounded() -> None:
    """Never more rows are sent beyond the written progress than the window and the step of writing."""
    producer, saved = ScriptedProducer(is_slow=True), [BackfillProgress()]
    tails = []

    def late_acknowledgements() -> Iterator[tuple[int, list[Event]]]:
        for row, events in rows_of(4 * (WINDOW_ROWS + SAVE_ROWS)):
            if row > WINDOW_ROWS - 10:  # Just in time, else the sender waits.
                producer.acknowledge(row - WINDOW_ROWS + 9)
            yield row, events
            tails.append(len(producer.events) - saved[-1].acknowledged_rows)

    sender_with(producer, saved).send(late_acknowledgements())
    assert SAVE_ROWS < max(tails) <= WINDOW_ROWS + SAVE_ROWS
    assert saved[-1].is_finished


def test_the_window_stops_the_sending() -> None:
    """A sender that hears nothing sends no more than the window."""
    producer, saved = ScriptedProducer(is_slow=True), list[BackfillProgress]()
    sender = sender_with(producer, saved)
    waited_for: list[int] = []
    last = WINDOW_ROWS - 1

    class Waited(Future[Ack]):
        def result(self, timeout: float | None = None) -> Ack:
            waited_for.append(len(producer.events))
            raise NotAcknowledgedError("too long")

    def rows() -> Iterator[tuple[int, list[Event]]]:
        for row, events in rows_of(2 * WINDOW_ROWS):
            yield row, events
            if row == 1:
                sender._on_their_way[0] = (1, [Waited()])

    with pytest.raises(NotAcknowledgedError, match="too long"):
        sender.send(rows())
    assert waited_for == [last + 1]
