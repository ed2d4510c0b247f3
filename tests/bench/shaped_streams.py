"""Small made-up streams of other shapes than the two data sets, written and read as files of `headrace evaluate`.

Nothing of the learner was chosen on them. Each is a function of its seed.
Letters: `N` items, `T` topics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.config import ActionConfig, AppConfig
from features.label_config import derived_labels
from tests.bench.learning_data import DataSet
from trainer.evaluation.stream import read_stream

_START_MS = 1_700_000_000_000
_HOUR_MS = 3_600_000
_TOPICS, _USERS = 8, 400


@dataclass
class _Tables:
    """Rows of the three files."""

    events: list[tuple[str, str, int, str | None]] = field(default_factory=list)
    """User, item, time, request."""
    lists: list[tuple[str, str, str, int, int]] = field(default_factory=list)
    """Request, user, item, position, time."""
    items: list[tuple[str, list[str], int]] = field(default_factory=list)
    """Item, categories, publication time."""


@dataclass(frozen=True)
class _World:
    """Users with tastes and items of one topic each, born one after the other."""

    tastes: NDArray[np.float64]
    """(users, T) log of how much more than others a user likes a topic."""
    topics: NDArray[np.int64]
    """(N,)"""
    quality: NDArray[np.float64]
    """(N,) log appeal."""
    born_ms: NDArray[np.int64]
    """(N,)"""

    @classmethod
    def drawn(cls, random: np.random.Generator, num_items: int, gap_ms: float, at_once: int = 0) -> _World:
        """Draw a world in which an item is born every `gap_ms`, behind the first ones."""
        tastes = np.log(random.dirichlet(np.full(_TOPICS, 0.4), size=_USERS) * _TOPICS + 0.05)
        ages = np.maximum(np.arange(num_items) - at_once, 0)
        return cls(
            tastes,
            random.integers(_TOPICS, size=num_items),
            random.normal(0.0, 1.0, size=num_items),
            _START_MS + (gap_ms * ages).astype(np.int64),
        )

    def records(self) -> list[tuple[str, list[str], int]]:
        """Return the items as their file has them."""
        rows = enumerate(zip(self.topics.tolist(), self.born_ms.tolist(), strict=True))
        return [(f"item-{item}", [f"topic-{topic}"], born_ms) for item, (topic, born_ms) in rows]

    def appeal(self, user: int, rows: NDArray[np.int64], now_ms: int, half_life_h: float) -> NDArray[np.float64]:
        """Return log appeal of items for a user, which halves with their age; like `rows`."""
        hours = (now_ms - self.born_ms[rows]) / _HOUR_MS
        appeal: NDArray[np.float64] = self.quality[rows] + self.tastes[user, self.topics[rows]]
        appeal -= np.log(2.0) * hours / half_life_h
        return appeal


def news(seed: int, lists: int = 3000) -> DataSet:
    """Lists of ten articles that live for hours: chosen half by clicks so far, half at random; up to all are clicked.

    People look less far down, tire of what they were shown, and like their topics.
    """
    random = np.random.default_rng(seed)
    gap_ms = 20_000
    world = _World.drawn(random, num_items=40 + lists // 10, gap_ms=10 * gap_ms, at_once=40)
    tables, clicks = _Tables(items=world.records()), np.ones(len(world.topics))
    tired: dict[tuple[int, int], int] = {}
    for number in range(lists):
        now_ms, user = _START_MS + gap_ms * (number + 1), int(random.integers(_USERS))
        live = np.flatnonzero(world.born_ms <= now_ms)[-60:]
        shares = 0.5 * clicks[live] / clicks[live].sum() + 0.5 / len(live)
        shown = random.choice(live, size=10, replace=False, p=shares)
        tables.lists += [
            (f"list-{number}", f"user-{user}", f"item-{item}", place, now_ms) for place, item in enumerate(shown)
        ]
        logits = world.appeal(user, shown, now_ms, half_life_h=3.0) - 2.5 - 0.15 * np.arange(10)
        logits -= [0.7 * tired.get((user, int(item)), 0) for item in shown]
        for item in shown.tolist():
            tired[user, item] = tired.get((user, item), 0) + 1
        for item in shown[random.random(10) < 1.0 / (1.0 + np.exp(-logits))].tolist():
            clicks[item] += 1.0
            tables.events.append((f"user-{user}", f"item-{item}", now_ms + 5_000, f"list-{number}"))
    return _data_set("news, shown lists", tables)


def fast_dying(seed: int, events: int = 6000) -> DataSet:
    """Items that are born all the time and lose half of their appeal in two hours; everybody takes each once."""
    random = np.random.default_rng(seed)
    gap_ms = 20_000
    world = _World.drawn(random, num_items=30 + events // 15, gap_ms=15 * gap_ms, at_once=30)
    tables, taken = _Tables(items=world.records()), np.zeros((_USERS, len(world.topics)), dtype=np.bool_)
    for number in range(events):
        now_ms, user = _START_MS + gap_ms * (number + 1), int(random.integers(_USERS))
        live = np.flatnonzero((world.born_ms <= now_ms) & ~taken[user])
        appeal = world.appeal(user, live, now_ms, half_life_h=2.0)
        item = int(live[np.argmax(appeal + random.gumbel(size=len(live)))])
        taken[user, item] = True
        tables.events.append((f"user-{user}", f"item-{item}", now_ms, None))
    return _data_set("fast-dying items", tables)


def long_tail(seed: int, events: int = 8000) -> DataSet:
    """Two thousand items in series of ten, none popular: six of ten steps stay in the series of the one before."""
    random = np.random.default_rng(seed)
    world = _World.drawn(random, num_items=2000, gap_ms=0.0)
    topics = np.repeat(world.topics[::10], 10)  # A series is of one topic.
    world = _World(world.tastes, topics, world.quality, world.born_ms)
    tables, taken = _Tables(items=[(f"item-{row}", [], 0) for row in range(2000)]), np.zeros((_USERS, 2000), dtype=bool)
    newest = np.full(_USERS, -1)
    for number in range(events):
        now_ms, user = _START_MS + 20_000 * (number + 1), int(random.integers(_USERS))
        series = np.arange(newest[user] // 10 * 10, newest[user] // 10 * 10 + 10)
        left = series[~taken[user, series]] if newest[user] >= 0 and random.random() < 0.6 else series[:0]
        rows = left if len(left) else np.flatnonzero(~taken[user])
        appeal = world.appeal(user, rows, _START_MS, half_life_h=1.0)
        item = newest[user] = int(rows[np.argmax(appeal + random.gumbel(size=len(rows)))])
        taken[user, item] = True
        tables.events.append((f"user-{user}", f"item-{item}", now_ms, None))
    return _data_set("long tail", tables)


SHAPES: Mapping[str, Callable[[int], DataSet]] = {"news": news, "fast-dying": fast_dying, "long-tail": long_tail}


def _data_set(name: str, tables: _Tables) -> DataSet:
    app = AppConfig(name="bench", actions={"click": ActionConfig(outcome="positive")})
    with TemporaryDirectory() as folder:
        events = _written(
            Path(folder) / "events.parquet", ("user_id", "item_id", "event_time_ms", "request_id"), tables.events
        )
        items = _written(Path(folder) / "items.parquet", ("item_id", "categories", "published_time_ms"), tables.items)
        served = None
        if tables.lists:
            columns = ("request_id", "user_id", "item_id", "position", "served_time_ms")
            served = _written(Path(folder) / "served.parquet", columns, tables.lists)
        stream = read_stream(events, app, derived_labels(app), served, items, action="click")
    return DataSet(name, app, stream)


def _written(path: Path, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Path:
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), path)
    return path
