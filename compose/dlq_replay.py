"""`headrace dlq replay`: dead letters back to where they came from, and a note of each in Kafka.

The order makes it safe to be killed anywhere: (1) the record is sent and acknowledged, (2) its marker is written to
`headrace.events.dlq.replayed.v1` under the key `TOPIC:PARTITION:OFFSET`. Killed in between, the next run sends the
record again with the same event_id, and the stream counts it once.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import msgspec

from compose.dlq_letters import DeadLetter
from compose.dlq_mend import Left, ReplayRules, Resend, prepare
from compose.terminal_text import shown, shown_bytes
from compose.topic_scan import scan_topic
from headrace_client import Ack, NotAcknowledgedError

MARKERS_TOPIC = "headrace.events.dlq.replayed.v1"
_WINDOW = 2_000
_SHOWN_RECORDS = 3


class RecordProducer(Protocol):
    """What a replay needs of `EventProducer`."""

    def send_record(self, topic: str, key: bytes | None, value: bytes) -> Future[Ack]:
        """Send bytes."""

    def flush(self) -> None:
        """Wait for the acknowledgements."""


class ReplayedLetter(msgspec.Struct, frozen=True):
    """What a marker holds (protos/events.proto ReplayedLetter)."""

    reason: str
    event_id: str
    topic: str
    replayed_time_ms: int


@dataclass
class DlqReplaySummary:
    """What a replay did, or would do."""

    is_dry_run: bool = False
    chosen: int = 0
    sent: int = 0
    already_replayed: int = 0
    failed: int = 0
    """Not acknowledged; they have no marker and go along next time."""
    left: Counter[str] = field(default_factory=Counter)
    why_left: dict[str, str] = field(default_factory=dict)
    first_records: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or 1 where Kafka did not acknowledge a record."""
        return 1 if self.failed else 0


def read_markers(bootstrap: str) -> dict[str, int]:
    """Return when each letter was replayed last, by letter id.

    Raises:
        StackError: Kafka does not answer, or the topic does not exist.
    """
    markers = {}
    for record in scan_topic(bootstrap, MARKERS_TOPIC):
        if record.key and record.value:
            try:
                markers[record.key.decode()] = msgspec.json.decode(record.value, type=ReplayedLetter).replayed_time_ms
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return markers


def replay_letters(
    letters: Iterable[DeadLetter], replayed: Iterable[str], rules: ReplayRules, producer: RecordProducer | None
) -> DlqReplaySummary:
    """Send every letter that may be sent, once.

    Args:
        letters: the chosen ones.
        replayed: letter ids that have a marker.
        rules: what may be sent, and how it is mended.
        producer: open, it is not closed; None for a dry run.

    Raises:
        HeadraceClientError: Kafka takes no more records.
    """
    summary, done = DlqReplaySummary(is_dry_run=producer is None), set(replayed)
    outbox = _Outbox(producer, summary) if producer is not None else None
    try:
        for letter in letters:
            summary.chosen += 1
            if letter.letter_id in done:
                summary.already_replayed += 1
                continue
            match prepare(letter, rules):
                case Left(code, why):
                    summary.left[code] += 1
                    summary.why_left[code] = why
                case Resend() as record:
                    done.add(letter.letter_id)
                    if len(summary.first_records) < _SHOWN_RECORDS:
                        summary.first_records.append(shown_bytes(record.value))
                    if outbox is None:
                        summary.sent += 1
                    else:
                        outbox.send(letter, record)
    finally:
        if outbox is not None:
            outbox.finish()
    return summary


class _Outbox:
    """Records on their way; the marker of each follows its acknowledgement."""

    def __init__(self, producer: RecordProducer, summary: DlqReplaySummary) -> None:
        self._producer = producer
        self._summary = summary
        self._on_their_way: deque[tuple[DeadLetter, Resend, Future[Ack]]] = deque()

    def send(self, letter: DeadLetter, record: Resend) -> None:
        future = self._producer.send_record(record.topic, record.key, record.value)
        self._on_their_way.append((letter, record, future))
        while self._on_their_way and (len(self._on_their_way) > _WINDOW or self._on_their_way[0][2].done()):
            self._settle()

    def finish(self) -> None:
        """Wait for what is on its way, markers included."""
        self._producer.flush()
        while self._on_their_way:
            self._settle()
        self._producer.flush()

    def _settle(self) -> None:
        letter, record, future = self._on_their_way.popleft()
        try:
            future.result()
        except NotAcknowledgedError:
            self._summary.failed += 1
            return
        self._summary.sent += 1
        marker = ReplayedLetter(letter.reason, record.event_id, record.topic, time.time_ns() // 1_000_000)
        self._producer.send_record(MARKERS_TOPIC, letter.letter_id.encode(), msgspec.json.encode(marker))


def print_replay(summary: DlqReplaySummary, as_json: bool) -> None:
    """Print what a replay did, or would do."""
    if as_json:
        data: dict[str, Any] = asdict(summary) | {"left": dict(summary.left)}
        print(json.dumps(data, indent=2))
        return
    verb = "would be sent" if summary.is_dry_run else "sent"
    print(f"{summary.sent:,} of {summary.chosen:,} dead letters {verb}, {summary.already_replayed:,} were before")
    for code, count in summary.left.most_common():
        print(f"  {count:>10,}  left, {shown(code)}: {summary.why_left[code]}")
    if summary.is_dry_run:
        for record in summary.first_records:
            print(f"  {record}")
    if summary.failed:
        print(f"  {summary.failed:>10,}  not acknowledged; run the same command again")
