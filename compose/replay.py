"""`headrace replay FILE`: the events of a file into Kafka, as if they happened now, at a chosen speed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from compose.errors import StackError, StackNotRunningError
from compose.imports.events_file import ImportOptions
from compose.imports.progress import every, import_progress
from compose.replay_file import read_events
from compose.terminal_text import shown
from features.config import Endpoints
from features.kafka_connection import kafka_settings
from headrace_client import Ack, BufferFullError, Event, EventProducer, HeadraceClientError

AGAIN = "run the same command again: what has arrived counts once"
_MAX_PENDING = 20_000
_BLOCK_S = 30.0
"""How long Kafka may be away before a replay gives up."""
_SHOWN_EVERY = 100
_INTERRUPTED = 130


class Producer(Protocol):
    """What a replay needs of `EventProducer`."""

    def send(self, event: Event) -> Future[Ack]:
        """Send an event."""

    def flush(self) -> None:
        """Wait for the acknowledgements."""


@dataclass(frozen=True)
class ReplaySummary:
    """What a replay did."""

    events: int
    """In the file."""
    acknowledged: int
    failed: int
    wall_s: float
    events_per_s: float
    was_interrupted: bool
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What of the file makes no event, by reason."""

    @property
    def exit_code(self) -> int:
        """0 all acknowledged, 1 some failed, 130 interrupted."""
        if self.was_interrupted:
            return _INTERRUPTED
        return 0 if self.acknowledged == self.events else 1


def pace(
    events: Iterable[Event],
    speed: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Event]:
    """Yield each event when it is due: the file's own spacing divided by `speed`; 0 is as fast as possible."""
    started_s, first_ms = clock(), None
    for event in events:
        first_ms = event.event_time_ms if first_ms is None else first_ms
        if speed > 0:
            wait_s = started_s + (event.event_time_ms - first_ms) / 1000 / speed - clock()
            if wait_s > 0:
                sleep(wait_s)
        yield event


def restamp(event: Event, now_ms: int) -> Event:
    """Let the event happen now and keep its own time in `context`."""
    context = {**event.context, "original_time_ms": str(event.event_time_ms)}
    return replace(event, event_time_ms=now_ms, context=context)


def replay_events(
    events: Sequence[Event],
    producer: Producer,
    speed: float,
    on_sent: Callable[[int], object],
    pacer: Callable[[Iterable[Event], float], Iterator[Event]] = pace,
) -> ReplaySummary:
    """Send events and wait until Kafka has them; Ctrl-C stops the sending, not the waiting.

    Args:
        events: in time order.
        producer: open; it is flushed, not closed.
        speed: times the file's own pace; 0 is as fast as possible.
        on_sent: told the number of events sent so far.
        pacer: see `pace`.

    Raises:
        StackError: Kafka took no more events.
    """
    outcomes: Counter[str] = Counter()

    def count(sent: Future[Ack]) -> None:
        outcomes["failed" if sent.exception() else "acknowledged"] += 1

    started_s = time.monotonic()
    was_interrupted = False
    try:
        for number, event in enumerate(pacer(events, speed), start=1):
            producer.send(restamp(event, time.time_ns() // 1_000_000)).add_done_callback(count)
            on_sent(number)
    except KeyboardInterrupt:
        was_interrupted = True
    except BufferFullError as error:
        raise StackError(f"Kafka acknowledged nothing for {_BLOCK_S:g} s; {AGAIN}") from error
    producer.flush()
    wall_s = time.monotonic() - started_s
    acknowledged = outcomes["acknowledged"]
    return ReplaySummary(
        len(events), acknowledged, outcomes["failed"], wall_s, acknowledged / max(wall_s, 1e-9), was_interrupted
    )


def replay_file(path: Path, endpoints: Endpoints, options: ImportOptions, speed: float = 1.0) -> ReplaySummary:
    """Replay a file into the Kafka of `endpoints`, with a progress bar on stderr.

    Raises:
        StackError: the file or Kafka cannot be used; one sentence.
    """
    if speed < 0:
        raise StackError(f"--speed must be 0 (as fast as possible) or more, not {speed:g}")
    try:
        with import_progress() as progress:
            reading = progress.add_task(f"reading {path.name}", total=None)
            events, survey = read_events(path, options, every(1000, lambda n: progress.update(reading, completed=n)))
            progress.remove_task(reading)
            with EventProducer(
                endpoints.kafka,
                _MAX_PENDING,
                block_s=_BLOCK_S,
                linger_ms=5,
                security=kafka_settings(endpoints.kafka_servers),
            ) as producer:
                bar = progress.add_task(f"replaying {path.name}", total=len(events))
                show = every(_SHOWN_EVERY, lambda sent: progress.update(bar, completed=sent))
                summary = replay_events(events, producer, speed, show)
    except HeadraceClientError as error:
        raise StackNotRunningError(f"{error}; {AGAIN}") from error
    return replace(summary, left_out=dict(survey.left_out.most_common()))


def print_summary(summary: ReplaySummary, as_json: bool) -> None:
    """Print what a replay did."""
    if as_json:
        print(json.dumps(asdict(summary), indent=2))
        return
    print(
        f"{summary.acknowledged} of {summary.events} events acknowledged in {summary.wall_s:.1f} s"
        f" ({summary.events_per_s:.0f}/s)"
    )
    for reason, count in summary.left_out.items():
        print(f"  {count:>12,}  left out: {shown(reason)}")
    if summary.exit_code:
        print(AGAIN)
