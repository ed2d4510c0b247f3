"""What people do, drawn by itself: actions over time, movers, categories, and the lives of items.

Counted from the tail of the events topic, for half an hour; at more events a second than the tail reads it is a sample.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

BUCKET_MS = 60_000
BUCKETS = 30
_RECENT = 5
"""Minutes that are held against the rest."""
_ITEMS = 200_000
"""Items whose title and categories are remembered."""
_USERS = 200
"""Newest users, of whom some are looked up."""
_TOP = 8
_MAX_COUNTED = 20_000
"""Different items of one minute."""


class ItemText(msgspec.Struct):
    """As much of an item's announcement as people read."""

    item_id: str
    title: str = ""
    categories: list[str] = []
    published_time_ms: int = 0


class _Event(msgspec.Struct):
    user_id: str
    item_id: str
    action: str


class _Bucket:
    def __init__(self) -> None:
        self.actions: Counter[str] = Counter()
        self.items: Counter[str] = Counter()


class Insights:
    """Counts events and knows items."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[int, _Bucket] = OrderedDict()
        self._items: dict[str, ItemText] = {}
        self._users: OrderedDict[str, int] = OrderedDict()
        self.bad_records = 0

    def on_event(self, time_ms: int, value: bytes | None) -> None:
        """Count one record of the events topic; what is no event is the dead letters' business."""
        try:
            event = msgspec.json.decode(value or b"", type=_Event)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.bad_records += 1
            return
        bucket = self._bucket(time_ms // BUCKET_MS)
        bucket.actions[event.action] += 1
        if event.item_id in bucket.items or len(bucket.items) < _MAX_COUNTED:
            bucket.items[event.item_id] += 1
        self._users[event.user_id] = time_ms
        self._users.move_to_end(event.user_id)
        if len(self._users) > _USERS:
            self._users.popitem(last=False)

    def on_item(self, key: bytes | None, value: bytes | None) -> None:
        """Note an item's announcement, or that it was deleted."""
        if value is None:
            self._items.pop((key or b"").decode(errors="replace"), None)
            return
        try:
            item = msgspec.json.decode(value, type=ItemText)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if item.item_id in self._items or len(self._items) < _ITEMS:
            self._items[item.item_id] = item

    def title_of(self, item_id: str) -> str:
        """Return the title of an item, empty where none was announced."""
        item = self._items.get(item_id)
        return "" if item is None else item.title

    def categories_of(self, item_id: str) -> list[str]:
        """Return the categories of an item."""
        item = self._items.get(item_id)
        return [] if item is None else item.categories

    @property
    def num_items(self) -> int:
        """Items announced."""
        return len(self._items)

    def newest_users(self, most: int) -> list[str]:
        """Return who acted last, newest first."""
        return list(reversed(self._users))[:most]

    def view(self, now_ms: int) -> dict[str, Any]:
        """Return everything as JSON can hold it; minutes count up to now, the running one last."""
        last = now_ms // BUCKET_MS
        minutes = list(range(last - BUCKETS + 1, last + 1))
        buckets = [self._buckets.get(minute) or _Bucket() for minute in minutes]
        first = next((index for index, bucket in enumerate(buckets) if bucket.actions), BUCKETS)
        return {
            "minutes_ms": [minute * BUCKET_MS for minute in minutes],
            "observed_minutes": BUCKETS - first,
            "actions": _per_minute(buckets),
            "movers": self._movers(buckets, first),
            "categories": self._categories(buckets),
            "lives": self._lives(buckets, now_ms),
            "items_known": self.num_items,
        }

    def _bucket(self, minute: int) -> _Bucket:
        bucket = self._buckets.get(minute)
        if bucket is None:
            bucket = self._buckets[minute] = _Bucket()
            for old in sorted(self._buckets)[: -BUCKETS - 1]:
                del self._buckets[old]
        return bucket

    def _movers(self, buckets: list[_Bucket], first: int) -> list[dict[str, Any]]:
        """Return what is chosen more than before, by events a minute; nothing until there is a before."""
        split = BUCKETS - _RECENT
        if first >= split:
            return []
        before: Counter[str] = Counter()
        recent: Counter[str] = Counter()
        for bucket in buckets[first:split]:
            before.update(bucket.items)
        for bucket in buckets[split:]:
            recent.update(bucket.items)
        rates = {
            item_id: (recent[item_id] / _RECENT, before[item_id] / (split - first)) for item_id in {*before, *recent}
        }
        ordered = sorted(rates, key=lambda item_id: rates[item_id][0] - rates[item_id][1])
        chosen = [*reversed(ordered[-_TOP:]), *reversed(ordered[: min(3, max(0, len(ordered) - _TOP))])]
        return [
            {"item_id": item_id, "title": self.title_of(item_id), "now": rates[item_id][0], "before": rates[item_id][1]}
            for item_id in chosen
        ]

    def _categories(self, buckets: list[_Bucket]) -> list[dict[str, Any]]:
        """Return the share of each category among events; an event on an item of two counts half in each."""
        weights: Counter[str] = Counter()
        for bucket in buckets:
            for item_id, count in bucket.items.items():
                names = self.categories_of(item_id) or [""]
                for name in names:
                    weights[name] += count / len(names)  # type: ignore[assignment]
        total = sum(weights.values())
        if not total:
            return []
        top = weights.most_common(_TOP)
        rest = total - sum(weight for _, weight in top)
        shares = [{"name": name or "(no category)", "share": weight / total} for name, weight in top]
        return [*shares, {"name": "all others", "share": rest / total}] if rest > 1e-9 * total else shares

    def _lives(self, buckets: list[_Bucket], now_ms: int) -> list[dict[str, Any]]:
        totals: Counter[str] = Counter()
        for bucket in buckets:
            totals.update(bucket.items)
        lives = []
        for item_id, total in totals.most_common(_TOP):
            item = self._items.get(item_id)
            published_ms = item.published_time_ms if item is not None else 0
            age_s = (now_ms - published_ms) / 1000.0 if published_ms else None
            counts = [bucket.items[item_id] for bucket in buckets]
            title = self.title_of(item_id)
            lives.append({"item_id": item_id, "title": title, "total": total, "counts": counts, "age_s": age_s})
        return lives


def _per_minute(buckets: list[_Bucket]) -> Mapping[str, list[int]]:
    names = sorted({name for bucket in buckets for name in bucket.actions})
    return {name: [bucket.actions[name] for bucket in buckets] for name in names[:20]}
