"""Dead letters as `headrace.events.dlq.v1` holds them (protos/events.proto DeadLetter), and which are wanted."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from compose.errors import StackError
from compose.topic_scan import scan_topic
from features.config import nearest_name
from features.json_records import JsonDecoder

DEAD_LETTERS_TOPIC = "headrace.events.dlq.v1"
REASONS = (
    *("too_large", "not_json", "too_deep", "unknown_action", "too_old", "bad_token"),
    *("unknown_request", "after_horizon"),
    *(f"missing_{field}" for field in ("event_id", "user_id", "item_id", "action", "event_time_ms")),
    *(f"bad_{field}" for field in ("event_id", "user_id", "item_id", "action", "event_time_ms")),
    *("bad_value", "bad_request_id", "bad_context"),
)
"""Every reason that a letter can have; a test holds them equal to those of the streaming jobs."""
_AGE = re.compile(r"(\d+)\s*([smhd])")
_LETTER_ID = re.compile(r"[\w.-]+:\d+:\d+")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class DlqUsageError(StackError):
    """Expected: an option of `headrace dlq` cannot be used."""

    exit_code = 2


class _LetterJson(msgspec.Struct):
    raw: str
    topic: str
    partition: int
    offset: int
    reason: str
    record_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that could not be used."""

    raw: bytes
    """As it was sent."""
    topic: str
    partition: int
    offset: int
    reason: str
    record_time_ms: int
    """The broker's time of the original record."""

    @property
    def letter_id(self) -> str:
        """Name the original record: `TOPIC:PARTITION:OFFSET`."""
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True)
class Selection:
    """Which dead letters are wanted; empty means all."""

    reasons: Collection[str] = ()
    since_ms: int | None = None
    letter_ids: Collection[str] = ()

    def wants(self, letter: DeadLetter) -> bool:
        """Say whether a letter is among them."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.since_ms is None or letter.record_time_ms >= self.since_ms)
            and (not self.letter_ids or letter.letter_id in self.letter_ids)
        )


_decode = JsonDecoder(_LetterJson).decode


def decode_letter(value: bytes | None) -> DeadLetter | None:
    """Read one record of the topic; None where it is no dead letter."""
    try:
        data = _decode(value or b"")
        raw = base64.b64decode(data.raw, validate=True)
    except (msgspec.DecodeError, ValueError):
        return None
    return DeadLetter(raw, data.topic, data.partition, data.offset, data.reason, data.record_time_ms)


def read_letters(bootstrap: str, selection: Selection) -> Iterator[DeadLetter]:
    """Yield the wanted letters, each once: the job may write one twice when it restarts.

    Raises:
        StackError: Kafka does not answer, or the topic does not exist.
    """
    seen = set()
    # A letter is written after its record, so that the topic can be entered at the time asked for.
    for record in scan_topic(bootstrap, DEAD_LETTERS_TOPIC, selection.since_ms):
        letter = decode_letter(record.value)
        if letter is None or not selection.wants(letter) or (letter.letter_id, letter.reason) in seen:
            continue
        seen.add((letter.letter_id, letter.reason))
        yield letter


def parse_since(text: str, now_ms: int | None = None) -> int | None:
    """Return the time that `--since` means: an age as `90m` or an ISO 8601 time; None for empty text.

    A time before 1970 is 1970: Kafka knows none before.

    Raises:
        DlqUsageError: it is neither.
    """
    if not text:
        return None
    age = _AGE.fullmatch(text.strip())
    if age is not None:
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        return max(0, now_ms - int(age[1]) * _SECONDS[age[2]] * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DlqUsageError(f"--since must be an age like 90m, 6h or 7d, or an ISO time, not {text!r}") from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0, int(aware.timestamp() * 1000))


def doubt_about(reason: str) -> str:
    """Return a sentence about a reason that no job writes, empty for others: misspelt it would look like good news."""
    return "" if reason in REASONS else f"--reason: no job writes {reason!r}{nearest_name(reason, REASONS)}"


def check_letter_id(text: str) -> str:
    """Return the name of a record as it is.

    Raises:
        DlqUsageError: it is none.
    """
    if not _LETTER_ID.fullmatch(text):
        raise DlqUsageError(f"--letter must be TOPIC:PARTITION:OFFSET as `headrace dlq show` prints it, not {text!r}")
    return text
