"""Events for tests of the jobs, and what plain Python makes of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

from features.config import EPOCH_HALF_LIVES, AppConfig

_numbers = itertools.count()
_RUN = f"{time.time_ns():x}"


def unique(name: str) -> str:
    """Return a name that no other test or run uses."""
    return f"{name}-{_RUN}-{next(_numbers)}"


def now_ms() -> int:
    """Return the wall clock."""
    return time.time_ns() // 1_000_000


def event(user_id: str, item_id: str, action: str = "click", age_ms: int = 0, **fields: Any) -> dict[str, Any]:
    """Return an event that happened `age_ms` ago."""
    required = {"event_id": unique("event"), "user_id": user_id, "item_id": item_id, "action": action}
    return required | {"event_time_ms": now_ms() - age_ms} | fields


def served(user_id: str, items: list[str], **fields: Any) -> dict[str, Any]:
    """Return a served list; each item's row holds its position and a half."""
    rows = [
        {"item_id": item, "position": n, "score": 0.1, "propensity": 0.5, "source": "tower", "row": [n, 0.5]}
        for n, item in enumerate(items)
    ]
    identity = {"request_id": unique("request"), "user_id": user_id, "surface": "default", "arm": ""}
    shown = {"served_time_ms": now_ms(), "model_version": "1.1", "feature_schema_hash": "hash", "user_row": [1, 2.5]}
    return identity | shown | {"context": {"page": "home"}, "items": rows, "learn": True} | fields


def plain_counters(app: AppConfig, events: Iterable[dict[str, Any]]) -> dict[tuple[int, int], list[float]]:
    """Return events, positives and negatives by (half-life, epoch) for this and the previous epoch."""
    unique_events = {e["event_id"]: e for e in reversed(list(events))}.values()
    newest_ms = max(e["event_time_ms"] for e in unique_events)
    sums: dict[tuple[int, int], list[float]] = {}
    for index, half_life_s in enumerate(app.features.half_lives_s):
        half_life_ms, epoch_ms = half_life_s * 1000, int(half_life_s * 1000 * EPOCH_HALF_LIVES)
        for epoch in (newest_ms // epoch_ms, newest_ms // epoch_ms - 1):
            inside = [e for e in unique_events if e["event_time_ms"] // epoch_ms == epoch]
            weights = [2 ** ((e["event_time_ms"] - epoch * epoch_ms) / half_life_ms) for e in inside]
            outcomes = [app.actions[e["action"]].outcome_of(e.get("value")) for e in inside]
            pairs = list(zip(weights, outcomes, strict=True))
            kinds = ([w for w, _ in pairs], [w for w, o in pairs if o > 0], [w for w, o in pairs if o < 0])
            sums[index, epoch] = [sum(kind) for kind in kinds]
    return sums


def row_counters(numbers: list[float]) -> dict[tuple[int, int], list[float]]:
    """Return a feature row's counters in the same shape."""
    spans = [numbers[start : start + 7] for start in range(0, len(numbers), 7)]
    newest = {(index, int(span[0])): span[1:4] for index, span in enumerate(spans)}
    before = {(index, int(span[0]) - 1): span[4:] for index, span in enumerate(spans)}
    return newest | before
