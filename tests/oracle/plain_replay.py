"""What features must come out of a log, in plain Python: no numpy, and nothing of the code that it judges.

    events, categories of items, served lists -> `rows_of` -> every field of every view

Numbers that must be met exactly (counts, epochs, times) are `int`; sums of weights and of values are `float`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.oracle.plain_events import Json, holds

Row = Json
EPOCH_HALF_LIVES = 40


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
    by_request = {shown["request_id"]: shown for shown in lists}
    for event in events:
        if event["outcome"] == 1 and _answers(event, by_request.get(event["request_id"]), config):
            amounts[event["item_id"]].append((event["event_time_ms"], (0, 0, 1)))
    half_lives_s = config["features"]["half_lives_s"]
    return {
        ("item_exposure", item_id): {
            "item_exposure": decayed(own, half_lives_s),
            "item_exposure_event_time_ms": max(time_ms for time_ms, _ in own),
        }
        for item_id, own in amounts.items()
    }


def _answers(event: Json, shown: Json | None, config: Json) -> bool:
    """Say whether a learning list showed its user this item, a horizon before at most; history answers nothing."""
    if shown is None or "backfill" in event["place"][0] or shown["user_id"] != event["user_id"]:
        return False
    is_in_time = event["record_time_ms"] - shown["served_time_ms"] <= config["features"]["horizon_h"] * 3_600_000
    return is_in_time and event["item_id"] in [item["item_id"] for item in shown["items"]]


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
