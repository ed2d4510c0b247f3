"""`headrace replay FILE`: the events of a file into Kafka, as if they happened now, at a chosen speed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from compose.errors import StackError, StackNotRunningError
from compose.replay_file import read_events
from features.config import ConfigError, Endpoints, load_endpoints
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


def replay_file(path: Path, endpoints: Endpoints, speed: float = 1.0, salt: str = "") -> ReplaySummary:
    """Replay a file into the Kafka of `endpoints`, with a progress bar on stderr.

    Raises:
        StackError: the file or Kafka cannot be used; one sentence.
    """
    if speed < 0:
        raise StackError(f"--speed must be 0 (as fast as possible) or more, not {speed:g}")
    events = read_events(path, salt)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with (
            EventProducer(endpoints.kafka, max_pending=_MAX_PENDING, block_s=_BLOCK_S, linger_ms=5) as producer,
            Progress(*columns, console=console, transient=True) as progress,
        ):
            bar = progress.add_task(f"replaying {path.name}", total=len(events))
            show = _every(_SHOWN_EVERY, lambda sent: progress.update(bar, completed=sent))
            return replay_events(events, producer, speed, show)
    except HeadraceClientError as error:
        raise StackNotRunningError(f"{error}; {AGAIN}") from error


def print_summary(summary: ReplaySummary, as_json: bool) -> None:
    """Print what a replay did."""
    if as_json:
        print(json.dumps(asdict(summary), indent=2))
        return
    print(
        f"{summary.acknowledged} of {summary.events} events acknowledged in {summary.wall_s:.1f} s"
        f" ({summary.events_per_s:.0f}/s)"
    )
    if summary.exit_code:
        print(AGAIN)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exit codes: 0 all acknowledged, 1 not all, 2 bad file or options, 3 no Kafka, 130 Ctrl-C."""
    parser = argparse.ArgumentParser(prog="headrace replay", description=__doc__)
    parser.add_argument("file", type=Path, help="parquet, .jsonl or .csv with the columns of headrace.events.v1")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the running stack")
    parser.add_argument("--speed", type=float, default=1.0, help="times the file's own pace; 0: as fast as possible")
    parser.add_argument("--salt", default="", help="any text; replaying a file again counts only with another salt")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = parser.parse_args(arguments)
    try:
        summary = replay_file(options.file, load_endpoints(options.endpoints), options.speed, options.salt)
    except (ConfigError, StackError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, StackError) else 2
    print_summary(summary, options.json)
    return summary.exit_code


def _every(step: int, call: Callable[[int], object]) -> Callable[[int], None]:
    """Pass on each `step`-th number."""

    def pass_on(number: int) -> None:
        if number % step == 0:
            call(number)

    return pass_on


if __name__ == "__main__":
    sys.exit(main())
