"""`headrace dlq list` and `show`: dead letters counted, and one by one as they were sent."""

from __future__ import annotations

import base64
import heapq
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import BinaryIO

from compose.dlq_letters import DeadLetter
from compose.terminal_text import shown, shown_bytes, utc


@dataclass
class LetterCount:
    """The dead letters of one reason and topic."""

    reason: str
    topic: str
    count: int = 0
    replayed: int = 0
    newest_time_ms: int = 0
    """The broker's time of the newest of the original records."""


def count_letters(letters: Iterable[DeadLetter], markers: Mapping[str, int]) -> list[LetterCount]:
    """Count by reason and source topic, most first."""
    counts: dict[tuple[str, str], LetterCount] = {}
    for letter in letters:
        key = (letter.reason, letter.topic)
        count = counts.setdefault(key, LetterCount(*key))
        count.count += 1
        count.replayed += letter.letter_id in markers
        count.newest_time_ms = max(count.newest_time_ms, letter.record_time_ms)
    return sorted(counts.values(), key=lambda each: (-each.count, each.reason, each.topic))


def newest_letters(letters: Iterable[DeadLetter], limit: int) -> list[DeadLetter]:
    """Return the newest `limit` letters, newest first."""
    return heapq.nlargest(limit, letters, key=lambda letter: (letter.record_time_ms, letter.letter_id))


def print_counts(counts: list[LetterCount], as_json: bool) -> None:
    """Print a table, or the counts as JSON."""
    if as_json:
        print(json.dumps([asdict(count) for count in counts], indent=2))
        return
    if not counts:
        print("no dead letters")
        return
    rows = [("reason", "topic", "count", "replayed", "newest")]
    rows += [
        (shown(c.reason), shown(c.topic), f"{c.count:,}", f"{c.replayed:,}", utc(c.newest_time_ms)) for c in counts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for reason, topic, count, replayed, newest in rows:
        print(f"{reason:{widths[0]}}  {topic:{widths[1]}}  {count:>{widths[2]}}  {replayed:>{widths[3]}}  {newest}")


def print_letters(letters: Iterable[DeadLetter], markers: Mapping[str, int], as_json: bool) -> None:
    """Print letters with their original text; control characters are written out."""
    if as_json:
        print(json.dumps([_to_json(letter, markers) for letter in letters], indent=2))
        return
    for letter in letters:
        replayed_ms = markers.get(letter.letter_id)
        replayed = f"  replayed {utc(replayed_ms)}" if replayed_ms is not None else ""
        print(f"{shown(letter.letter_id)}  {shown(letter.reason)}  {utc(letter.record_time_ms)}{replayed}")
        print(f"  {shown_bytes(letter.raw) or '(empty)'}")


def write_raw(letters: Iterable[DeadLetter], out: BinaryIO | None = None) -> None:
    """Write the original bytes, a line break after each; on a terminal control characters are written out."""
    stream = sys.stdout.buffer if out is None else out
    for letter in letters:
        raw = shown_bytes(letter.raw).encode() if stream.isatty() else letter.raw
        stream.write(raw + b"\n")
    stream.flush()


def _to_json(letter: DeadLetter, markers: Mapping[str, int]) -> dict[str, object]:
    return {
        "letter": letter.letter_id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "record_time_ms": letter.record_time_ms,
        "replayed_time_ms": markers.get(letter.letter_id),
        "text": letter.raw.decode("utf-8", errors="replace"),
        "raw": base64.b64encode(letter.raw).decode(),
    }
