"""A seeded stream: what an app at its worst sends, as a list of records in the order of sending.

Every event comes ten times, anywhere behind its first copy, some copies with other words. Events are out of order and
late, up to the horizon and a little beyond. Bursts go to one partition while the others idle. One record in a hundred
is garbage. Items come late, change, or never come. Feedback comes before its list, twice, and for what was not shown.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.running_stack import ROOT

EVENTS, ITEMS, SERVED = "headrace.events.v1", "headrace.items.v1", "headrace.served.v1"
PARTITIONS = 4
COPIES = 10
EVENTS_COUNT = 260
HOUR_MS = 3_600_000
VICTIMS = ("taskmanager", "ingester")
_CATEGORIES = [f"c{number}" for number in range(9)]
_SHIPPED = ["view", "click", "like", "purchase", "dislike", "dismiss", "rating"]
_OWN = sorted(yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))["actions"].keys() - set(_SHIPPED))
"""What a team declared beside them: its features want events too."""
_ACTIONS = [*_SHIPPED, *_OWN]
_WITH_VALUES = ("rating", "purchase", "view", *_OWN)


@dataclass(frozen=True)
class Step:
    """One record to send."""

    at: float
    """Its turn, 0 to 1."""
    topic: str
    partition: int
    key: str
    value: bytes | None
    is_garbage: bool = False


@dataclass(frozen=True)
class Kill:
    """A part to kill with -9."""

    at: float
    part: str


@dataclass(frozen=True)
class Size:
    """How much there is of everything in a stream."""

    users: int = 14
    items: int = 24
    lists: int = 40
    events: int = EVENTS_COUNT
    copied: float = 1.0
    """Share of the events that come `COPIES` times; the others come once."""
    garbage: float = 0.01
    """Records that are no events, to one of all others."""


@dataclass
class Stream:
    """All of one seed."""

    seed: int
    prefix: str
    """Begins every id of this stream."""
    steps: list[Step] = field(default_factory=list)

    def describe(self) -> str:
        """Return seed and sizes in a line."""
        garbage = sum(step.is_garbage for step in self.steps)
        return f"seed {self.seed} ({self.prefix}): {len(self.steps)} records, {garbage} garbage"


def partition_of(key: str) -> int:
    """Return the partition of a key; the same for ever, so that a key's records stand in one order."""
    return zlib.crc32(key.encode()) % PARTITIONS


def make_kills(seed: int) -> list[Kill]:
    """Return when parts are killed while streams are sent."""
    rng = random.Random(f"kills of {seed}")
    return sorted((Kill(rng.uniform(0.1, 0.95), part) for part in VICTIMS), key=lambda kill: kill.at)


def make_stream(seed: int, run: str, now_ms: int, size: Size | None = None) -> Stream:
    """Return the stream of a seed; `run` makes ids that no other run uses."""
    rng = random.Random(seed)
    stream = Stream(seed, f"s{seed}.{run}.")
    size = size or Size()
    maker = _Maker(rng, stream.prefix, now_ms, size)
    steps = [*maker.events(), *maker.items(), *maker.lists()]
    steps += maker.garbage(round(size.garbage * len(steps)))
    stream.steps = _with_bursts(rng, sorted(steps, key=lambda step: step.at))
    return stream


def _with_bursts(rng: random.Random, steps: list[Step]) -> list[Step]:
    """Move one partition's records to the front of a stretch, so that the others idle; order in each one stays."""
    start = 0
    ordered: list[Step] = []
    while start < len(steps):
        stretch = steps[start : start + rng.randrange(100, 500)]
        burst = rng.randrange(PARTITIONS)
        ordered += sorted(stretch, key=lambda step: step.partition != burst) if rng.random() < 0.5 else stretch
        start += len(stretch)
    return ordered


class _Maker:
    """Draws one stream's records."""

    def __init__(self, rng: random.Random, prefix: str, now_ms: int, size: Size) -> None:
        self._rng, self._prefix, self._now_ms, self._size = rng, prefix, now_ms, size
        self._users = [f"{prefix}u{number}" for number in range(size.users - 2)] + [f"{prefix}ü n", f"{prefix}日本"]
        self._items = [f"{prefix}i{number}" for number in range(size.items)]
        self._lists = [self._list(number) for number in range(size.lists)]

    def _list(self, number: int) -> dict[str, Any]:
        rng = self._rng
        # A few stand twice on their list.
        shown = rng.sample(self._items, rng.randrange(4, 9)) + rng.sample(self._items, rng.randrange(2))
        items = [
            {"item_id": item_id, "position": place, "propensity": 0.5, "source": "tower", "row": [place, rng.random()]}
            for place, item_id in enumerate(shown)
        ]
        identity = {"request_id": f"{self._prefix}r{number}", "user_id": rng.choice(self._users), "surface": "default"}
        times = {
            "served_time_ms": self._now_ms
            - rng.choice([0, 1000, 60_000, 2 * HOUR_MS, 23 * HOUR_MS, 25 * HOUR_MS])
            - rng.randrange(3)
        }
        logged = {"feature_schema_hash": "oracle", "user_row": [rng.random()], "context": {"page": "home"}}
        return identity | times | logged | {"items": items, "learn": rng.random() < 0.85}

    def events(self) -> Iterator[Step]:
        """Yield every copy of every event; a user's first copies of all events stand in no order of time."""
        for number in range(self._size.events):
            event = self._event(number)
            first = self._rng.random() * 0.95
            yield self._event_step(first, event)
            is_copied = self._size.copied == 1.0 or self._rng.random() < self._size.copied
            for _ in range(COPIES - 1 if is_copied else 0):
                at = first + self._rng.random() * self._rng.choice([0.001, 0.05, 1.0 - first])
                changed = {"action": "dislike", "value": 1.0} if self._rng.random() < 0.1 else {}
                yield self._event_step(at, event | changed)

    def _event_step(self, at: float, event: dict[str, Any]) -> Step:
        key = event["user_id"]
        return Step(at, EVENTS, partition_of(key), key, json.dumps(event).encode())

    def _event(self, number: int) -> dict[str, Any]:
        rng = self._rng
        # One user has most of the events, so that histories overflow.
        user_id = self._users[0] if rng.random() < 0.4 else rng.choice(self._users)
        item_id = rng.choice(self._items[: rng.choice([5, self._size.items])])
        event: dict[str, Any] = {"event_id": f"{self._prefix}e{number}", "user_id": user_id, "item_id": item_id}
        event |= {"action": rng.choice(_ACTIONS), "event_time_ms": self._now_ms - self._age_ms()}
        if event["action"] in _WITH_VALUES and rng.random() < 0.9:
            event["value"] = rng.choice([0.5, 1, 2.25, 4, 4.5, 5, 31.75, 1e-3])
        if rng.random() < 0.2:
            event["context"] = {"page": "p", 'odd "key"': "back\\slash é"}
        return event | self._feedback(event) if rng.random() < 0.35 else event

    def _age_ms(self) -> int:
        rng = self._rng
        oldest = 24 * HOUR_MS
        return rng.choice(
            [
                rng.randrange(5000),
                rng.randrange(5000) // 1000 * 1000,  # Equal times: the event_id decides.
                rng.randrange(2 * HOUR_MS),
                rng.randrange(oldest),
                oldest - rng.randrange(-60_000, 60_000),  # Around the horizon.
                -rng.choice([3000, HOUR_MS, 400 * 24 * HOUR_MS]) if rng.random() < 0.2 else rng.randrange(600_000),
            ]
        )

    def _feedback(self, event: dict[str, Any]) -> dict[str, Any]:
        rng = self._rng
        shown = rng.choice(self._lists)
        if rng.random() < 0.15:  # An item that was not shown, another user's list, or no list at all.
            return {"request_id": rng.choice([shown["request_id"], f"{self._prefix}never", ""])}
        item_id = rng.choice(shown["items"])["item_id"]
        return {"request_id": shown["request_id"], "user_id": shown["user_id"], "item_id": item_id}

    def items(self) -> Iterator[Step]:
        """Yield item records: most before their events, some late, some changed, a few never."""
        for item_id in self._items:
            record = {"item_id": item_id, "title": "t", "categories": self._categories()}
            if self._rng.random() < 0.9:
                yield self._item_step(self._rng.choice([0.0, self._rng.random()]), item_id, record)
            for _ in range(self._rng.choice([0, 0, 1, 3])):
                changed: Any = record | {"categories": self._categories()}
                changed = self._rng.choice([changed, changed, None, {"item_id": item_id}, "broken"])
                yield self._item_step(self._rng.random(), item_id, changed)

    def _categories(self) -> list[str]:
        return self._rng.choices(_CATEGORIES, k=self._rng.choice([0, 1, 1, 2, 3]))

    def _item_step(self, at: float, item_id: str, record: Any) -> Step:
        value = None if record is None else json.dumps(record).encode()[: None if record != "broken" else 5]
        return Step(at, ITEMS, partition_of(item_id), item_id, value)

    def lists(self) -> Iterator[Step]:
        """Yield served lists, each at any time, some twice with other items, and broken ones."""
        for shown in self._lists:
            at = self._rng.random()
            yield self._list_step(at, shown)
            if self._rng.random() < 0.3:
                yield self._list_step(at + 0.01, shown | {"items": shown["items"][:1]})
            if self._rng.random() < 0.1:
                broken: dict[str, Any] = self._rng.choice(
                    [{"items": []}, {"served_time_ms": 0}, {"user_id": "", "learn": True}]
                )
                yield self._list_step(self._rng.random(), shown | {"request_id": f"{self._prefix}x"} | broken)

    def _list_step(self, at: float, shown: dict[str, Any]) -> Step:
        key = shown["request_id"]
        return Step(at, SERVED, partition_of(key), key, json.dumps(shown).encode())

    def garbage(self, count: int) -> Iterator[Step]:
        """Yield records that are no events."""
        for number in range(count):
            good = self._event(self._size.events + number) | {"event_id": f"{self._prefix}g{number}"}
            partition = self._rng.randrange(PARTITIONS)
            yield Step(self._rng.random(), EVENTS, partition, "garbage", self._spoilt(good), is_garbage=True)

    def _spoilt(self, good: dict[str, Any]) -> bytes | None:
        text = json.dumps(good)
        fields: list[dict[str, Any]] = [
            {"event_id": None},
            {"user_id": 5},
            {"user_id": "x" * 129},
            {"item_id": "a\u0000b"},
            {"action": "fly"},
            {"event_time_ms": "now"},
            {"event_time_ms": 1.5},
            {"event_time_ms": self._now_ms - 26 * HOUR_MS},
            {"value": "4"},
            {"request_id": 7},
            {"context": []},
            {"nested": json.loads("[" * 16 + "]" * 16)},
        ]
        spoilt = [json.dumps(good | change).encode() for change in fields]
        raw = [None, b"", b"{", b"\xff\x00", b"[]", text[:-1].encode(), text.encode() + b" x", b"null"]
        return self._rng.choice([*spoilt, *raw])
