"""Which records of a log are events, items and served lists, in plain Python and by the written rules alone.

A log is a list of records in which those of one partition stand in their order.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
_NO_REQUIRED = ("value", "request_id", "context")
_FIELDS = ("event_id", "user_id", "item_id", "action", "event_time_ms", *_NO_REQUIRED)


@dataclass(frozen=True)
class Record:
    """One Kafka record as read back."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: str
    value: bytes | None

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it lies."""
        return self.topic, self.partition, self.offset


@dataclass(frozen=True)
class Letter:
    """One dead letter."""

    reason: str
    raw: bytes
    time_ms: int


def events_of(records: Iterable[Record], config: Json) -> tuple[dict[str, Json], dict[tuple[str, int, int], Letter]]:
    """Return the first good record of every event_id as an event by id, and the dead letters by place."""
    events: dict[str, Json] = {}
    letters: dict[tuple[str, int, int], Letter] = {}
    for record in records:
        event = _parsed(record.value)
        reason = _fault(event, record, config)
        if reason:
            letters[record.place] = Letter(reason, record.value or b"", record.time_ms)
        elif isinstance(event, dict):
            events.setdefault(event["event_id"], _taken(event, record, config))
    return events, letters


def _parsed(raw: bytes | None) -> Json | str:
    if raw is not None and len(raw) > 65_536:
        return "too_large"
    try:
        parsed = json.loads((raw or b"").decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return "not_json"
    return parsed if isinstance(parsed, dict) and not (raw or b"").startswith(b"\xef") else "not_json"


def _no_number(text: str) -> None:
    raise ValueError(text)


def _fault(event: Json | str, record: Record, config: Json) -> str:
    if isinstance(event, str):
        return event
    if _depth(event) > 16:
        return "too_deep"
    for name in _FIELDS:
        value = event.get(name)
        if value is None:
            if name not in _NO_REQUIRED:
                return f"missing_{name}"
        elif not _is_good(name, value):
            return f"bad_{name}"
    if event["action"] not in config["actions"]:
        return "unknown_action"
    oldest_ms = record.time_ms - config["features"]["horizon_h"] * 3_600_000
    return "too_old" if event["event_time_ms"] < oldest_ms and "backfill" not in record.topic else ""


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


def _is_good(name: str, value: Any) -> bool:
    if name == "event_time_ms":
        return type(value) is int and 0 < value < 10**18
    if name == "value":
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if name == "context":
        return isinstance(value, dict)
    return is_id(value) or (name == "request_id" and value == "")


def is_id(value: Any) -> bool:
    """Say whether this is text of 1-128 bytes without control characters."""
    is_text = isinstance(value, str) and 1 <= len(value.encode(errors="surrogatepass")) <= 128
    return is_text and not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)


def _taken(event: Json, record: Record, config: Json) -> Json:
    latest_ms = record.time_ms + round(config["features"].get("clock_skew_s", 5) * 1000)
    fields = {name: event.get(name) for name in _FIELDS}
    fields["request_id"] = fields["request_id"] or None
    fields["event_time_ms"] = min(fields["event_time_ms"], latest_ms)
    outcome = _outcome(config["actions"][event["action"]], event.get("value"))
    read = {"record_time_ms": record.time_ms, "place": record.place, "raw": record.value}
    return fields | {"outcome": outcome} | read


def _outcome(action: Json, value: float | None) -> int:
    for key, outcome in (("positive_when", 1), ("negative_when", -1)):
        if action.get(key) and holds(action[key], value):
            return outcome
    return {"positive": 1, "neutral": 0, "negative": -1}[action.get("outcome", "neutral")]


def holds(condition: str, value: float | None) -> bool:
    """Say whether a value meets `value >= 4` or the like; a missing one never does."""
    _, operator, bound = re.split(r"\s*([<>=]+)\s*", condition)
    if value is None:
        return False
    limit = float(bound)
    return {">=": value >= limit, "<=": value <= limit, "==": value == limit, ">": value > limit, "<": value < limit}[
        operator
    ]


def categories_of(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return the categories that each item's newest good record names; a deletion changes nothing."""
    newest: dict[str, list[str]] = {}
    for record in records:
        try:
            item = json.loads(record.value or b"")
        except ValueError:
            continue
        if isinstance(item, dict) and is_id(item.get("item_id")):
            different = list(dict.fromkeys(item.get("categories") or []))[:32]
            newest[item["item_id"]] = [name for name in different if is_id(name)]
    return newest


def lists_of(records: Iterable[Record]) -> dict[str, Json]:
    """Return the first good served record of every request_id, with the time of its record."""
    lists: dict[str, Json] = {}
    for record in records:
        try:
            shown = json.loads(record.value or b"")
        except ValueError:
            continue
        is_good = isinstance(shown, dict) and is_id(shown.get("request_id")) and is_id(shown.get("user_id"))
        if is_good and shown.get("served_time_ms", 0) > 0 and shown.get("items"):
            lists.setdefault(shown["request_id"], shown | {"record_time_ms": record.time_ms})
    return lists
