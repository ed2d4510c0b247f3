"""What must come out of a log, in plain Python: no numpy, and nothing of the code that it judges.

    records -> `events_of` -> events, dead letters
    events, item records, served lists -> `rows_of` -> every field of every view; `samples_of` -> every sample

A log is a list of records in which those of one partition stand in their order. Numbers that must be met exactly
(counts, epochs, times) are `int`; sums of weights and of values are `float`.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Row = dict[str, Any]
EPOCH_HALF_LIVES = 40
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


def events_of(records: Iterable[Record], config: Json) -> tuple[list[Json], dict[tuple[str, int, int], Letter]]:
    """Return the first good record of every event_id as an event, and the dead letters by place."""
    events: dict[str, Json] = {}
    letters: dict[tuple[str, int, int], Letter] = {}
    for record in records:
        event = _parsed(record.value)
        reason = _fault(event, record, config)
        if reason:
            letters[record.place] = Letter(reason, record.value or b"", record.time_ms)
        elif isinstance(event, dict):
            events.setdefault(event["event_id"], _taken(event, record, config))
    return list(events.values()), letters


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
        return type(value) in (int, float) and math.isfinite(value)
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
    _, operator, bound = condition.split()
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


def rows_of(
    events: Sequence[Json], categories: dict[str, list[str]], lists: dict[str, Json], config: Json
) -> dict[tuple[str, str], Row]:
    """Return the fields of every row by (view, entity id)."""
    learnt = [shown for shown in lists.values() if shown.get("learn") is True]
    rows: dict[tuple[str, str], Row] = {}
    for user_id, own in _grouped(events, "user_id").items():
        rows["user_activity", user_id] = _user_row(own, categories, config)
    for item_id, own in _grouped(events, "item_id").items():
        rows["item_activity", item_id] = _activity("item", own, config)
    for user_id, own in _grouped(learnt, "user_id").items():
        rows["user_exposure", user_id] = _user_exposure(own, config)
    rows |= _item_exposures(events, learnt, config)
    if events:
        rows["global_activity", "all"] = global_row(events, config)
    return rows


def global_row(events: Sequence[Json], config: Json) -> Row:
    """Return the one row of all events."""
    return _declared_row("global", events, config) | {"global_activity_event_time_ms": _newest_ms(events)}


def _grouped(rows: Iterable[Json], name: str) -> dict[str, list[Json]]:
    groups: dict[str, list[Json]] = defaultdict(list)
    for row in rows:
        groups[row[name]].append(row)
    return groups


def _newest_ms(rows: Sequence[Json], name: str = "event_time_ms") -> int:
    return max(int(row[name]) for row in rows)


def _user_row(events: Sequence[Json], categories: dict[str, list[str]], config: Json) -> Row:
    newest = sorted(events, key=lambda e: (e["event_time_ms"], e["event_id"]), reverse=True)
    newest = newest[: config["features"].get("history_length", 50)]
    by_category: dict[str, list[Json]] = defaultdict(list)
    for event in events:
        for name in categories.get(event["item_id"], ()):
            by_category[name].append(event)
    longest = config["features"]["half_lives_s"][-1:]
    return _activity("user", events, config) | {
        "user_history_item_ids": [e["item_id"] for e in newest],
        "user_history_actions": [e["action"] for e in newest],
        "user_history_times_ms": [e["event_time_ms"] for e in newest],
        "user_history_outcomes": [e["outcome"] for e in newest],
        "categories": {name: decayed(_kinds(own), longest) for name, own in by_category.items()},
    }


def _activity(entity: str, events: Sequence[Json], config: Json) -> Row:
    return {
        f"{entity}_counters": decayed(_kinds(events), config["features"]["half_lives_s"]),
        f"{entity}_activity_event_time_ms": _newest_ms(events),
    } | _declared_row(entity, events, config)


def _kinds(events: Iterable[Json]) -> list[tuple[int, tuple[float, ...]]]:
    return [(e["event_time_ms"], (1, int(e["outcome"] == 1), int(e["outcome"] == -1))) for e in events]


def _user_exposure(lists: Sequence[Json], config: Json) -> Row:
    newest = sorted(lists, key=lambda shown: (shown["served_time_ms"], shown["request_id"]), reverse=True)
    places = [(item["item_id"], shown["served_time_ms"]) for shown in newest for item in shown["items"]]
    places = places[: config["features"].get("exposure_length", 200)]
    return {
        "user_shown_item_ids": [item_id for item_id, _ in places],
        "user_shown_times_ms": [time_ms for _, time_ms in places],
        "user_exposure_event_time_ms": _newest_ms(lists, "served_time_ms"),
    }


def _item_exposures(events: Sequence[Json], lists: Sequence[Json], config: Json) -> dict[tuple[str, str], Row]:
    amounts: dict[str, list[tuple[int, tuple[float, ...]]]] = defaultdict(list)
    for shown in lists:
        for item in shown["items"]:
            amounts[item["item_id"]].append((shown["served_time_ms"], (1, 1 / len(shown["items"]), 0)))
    for event in events:
        if event["request_id"] and event["outcome"] == 1:
            amounts[event["item_id"]].append((event["event_time_ms"], (0, 0, 1)))
    half_lives_s = config["features"]["half_lives_s"]
    return {
        ("item_exposure", item_id): {
            "item_exposure": decayed(own, half_lives_s),
            "item_exposure_event_time_ms": max(time_ms for time_ms, _ in own),
        }
        for item_id, own in amounts.items()
    }


def decayed(entries: Sequence[tuple[int, tuple[float, ...]]], half_lives_s: Sequence[float]) -> list[float]:
    """Return, for each half-life, the newest epoch, its decayed sums and those of the epoch before."""
    numbers: list[float] = []
    for half_life_s in half_lives_s:
        half_life_ms = half_life_s * 1000
        numbers += _span(entries, round(EPOCH_HALF_LIVES * half_life_ms), half_life_ms)
    return numbers


def _span(
    entries: Sequence[tuple[int, tuple[float, ...]]], span_ms: int, half_life_ms: float | None = None
) -> list[float]:
    newest = max(time_ms // span_ms for time_ms, _ in entries)
    numbers: list[float] = [newest]
    for span in (newest, newest - 1):
        inside = [(_weight(t % span_ms, half_life_ms), amounts) for t, amounts in entries if t // span_ms == span]
        for index in range(len(entries[0][1])):
            terms = [w * amounts[index] for w, amounts in inside if amounts[index]]
            numbers.append(sum(terms) if all(type(term) is int for term in terms) else math.fsum(terms))
    return numbers


def _weight(age_ms: int, half_life_ms: float | None) -> float:
    return 1 if half_life_ms is None else 2.0 ** (age_ms / half_life_ms)


def _declared_row(entity: str, events: Sequence[Json], config: Json) -> Row:
    declared = config["features"].get("declared", {})
    return {name: _declared(f, events) for name, f in declared.items() if f["entity"] == entity}


def _declared(feature: Json, events: Sequence[Json]) -> list[float]:
    kind = feature["aggregation"]
    kept = [e for e in events if _takes(feature, e)]
    if kind in ("count", "sum", "mean", "ratio"):
        return _summed(feature, [(e["event_time_ms"], _amounts(feature, e)) for e in kept])
    if kind == "distinct":
        return [distinct(e[feature["of"]] for e in kept)]
    if not kept:
        return [0] if kind == "time_since_last" else [0, 0]
    if kind == "max":
        return [len(kept), max(e["value"] for e in kept)]
    if kind == "time_since_last":
        return [_newest_ms(kept)]
    last = max(kept, key=lambda e: (e["event_time_ms"], e["event_id"]))
    return [last["event_time_ms"], last["value"]]


def _takes(feature: Json, event: Json) -> bool:
    if feature.get("actions") and event["action"] not in feature["actions"]:
        return False
    if feature.get("when") and not holds(feature["when"], event["value"]):
        return False
    return event["value"] is not None or feature["aggregation"] not in ("sum", "mean", "max", "last")


def _amounts(feature: Json, event: Json) -> tuple[float, ...]:
    kind, value = feature["aggregation"], event["value"]
    is_positive = int(event["action"] in feature.get("positives", ()))
    return {"count": (1,), "sum": (value,), "mean": (value, 1), "ratio": (is_positive, 1)}[kind]


def _summed(feature: Json, entries: Sequence[tuple[int, tuple[float, ...]]]) -> list[float]:
    width = 2 if feature["aggregation"] in ("mean", "ratio") else 1
    half_lives_s, window_s = feature.get("half_lives_s", ()), feature.get("window_s")
    if not entries:
        return [0] * ((len(half_lives_s) or 1) * (1 + 2 * width) if half_lives_s or window_s else width)
    if half_lives_s:
        return decayed(entries, half_lives_s)
    if window_s:
        return _span(entries, round(window_s * 1000))
    return [sum(amounts[index] for _, amounts in entries) for index in range(width)]


def distinct(texts: Iterable[str]) -> float:
    """Return HyperLogLog's estimate with 512 registers (Flajolet et al. 2007), linear counting where few are used."""
    longest: dict[int, int] = {}
    for text in set(texts):
        bits = f"{_hash64(text.encode()):064b}"
        index, rest = int(bits[:9], 2), bits[9:] + "1"
        longest[index] = max(longest.get(index, 0), rest.index("1") + 1)
    empty = 512 - len(longest)
    guess = 0.7213 / (1 + 1.079 / 512) * 512**2 / (empty + sum(2.0**-rank for rank in longest.values()))
    return 512 * math.log(512 / empty) if guess <= 2.5 * 512 and empty else guess


def _hash64(data: bytes) -> int:
    value = 14695981039346656037  # FNV-1a ...
    for byte in data:
        value = (value ^ byte) * 1099511628211 % 2**64
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # ... and the last steps of MurmurHash3.
        value = (value ^ value >> 33) * factor % 2**64
    return value ^ value >> 33
