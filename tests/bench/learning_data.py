"""The two streams of `bench_learning.py`, and what it takes to read them as `headrace evaluate` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pandas as pd

from compose.demo.data import load_movielens
from compose.demo.errors import DataError
from features.config import ActionConfig, AppConfig
from trainer.evaluation.stream import Entry, Stream
from trainer.samples import Sample, SampleItem

ROOT = Path(__file__).parents[2]
MOVIETWEETINGS = Path("shared/data/movietweetings")
"""Looked for beside the checkout and in every folder above it."""


class NoDataError(Exception):
    """Expected: a data set is not on this machine; the message says where it was looked for."""


@dataclass(frozen=True)
class DataSet:
    """One stream and what `headrace.yaml` must say about it."""

    name: str
    app: AppConfig
    stream: Stream


def load_data(name: str, limit: int | None = None) -> DataSet:
    """Read `movietweetings` or `ml-100k`.

    Raises:
        NoDataError: it is not here.
    """
    app, stream = {"movietweetings": _movietweetings, "ml-100k": _movielens}[name]()
    if limit is not None:
        entries = stream.entries[:limit]
        stream = Stream(entries, stream.item_records, len(entries))
    return DataSet(name, app, stream)


def _movietweetings() -> tuple[AppConfig, Stream]:
    folder = next((base / MOVIETWEETINGS for base in ROOT.parents if (base / MOVIETWEETINGS).is_dir()), None)
    if folder is None:
        raise NoDataError(f"no folder {MOVIETWEETINGS} beside the checkout or above it")
    ratings = pd.read_parquet(folder / "ratings_first100k.parquet").sort_values("ts", kind="stable")
    entries = [
        _rating(row, f"user-{user}", f"film-{item}", float(rating), 1000 * int(second), 8.0)
        for row, (user, item, rating, second) in enumerate(
            ratings[["user_id", "item_id", "rating", "ts"]].itertuples(index=False, name=None)
        )
    ]
    films = pd.read_parquet(folder / "movies.parquet")
    records = {
        f"film-{item}": _record(f"film-{item}", str(title), tuple(str(genres or "").split("|")) if genres else (), 0)
        for item, title, genres in films[["item_id", "title", "genres"]].itertuples(index=False, name=None)
    }
    return _app(8.0), Stream(entries, records, len(entries))


def _movielens() -> tuple[AppConfig, Stream]:
    try:
        data = load_movielens()
    except DataError as error:
        raise NoDataError(str(error)) from error
    entries = [
        _rating(row, event.user_id, event.item_id, event.value or 0.0, event.event_time_ms, 4.0)
        for row, event in enumerate(data.events)
    ]
    records = {
        item.item_id: _record(item.item_id, item.title, item.categories, item.published_time_ms) for item in data.items
    }
    return _app(4.0), Stream(entries, records, len(entries))


def _app(bound: float) -> AppConfig:
    return AppConfig(name="bench", actions={"rating": ActionConfig(positive_when=f"value >= {bound:g}")})


def _rating(row: int, user_id: str, item_id: str, value: float, time_ms: int, bound: float) -> Entry:
    event_id = f"event-{row:09d}"
    sample = Sample(
        sample_id=event_id,
        kind="organic",
        user_id=user_id,
        items=[SampleItem(item_id)],
        event_time_ms=time_ms,
        event_id=event_id,
        action="rating",
        value=value,
        outcome=int(value >= bound),
    )
    return Entry(time_ms, sample)


def _record(item_id: str, title: str, categories: tuple[str, ...], published_time_ms: int) -> bytes:
    record = {"item_id": item_id, "title": title, "categories": categories, "published_time_ms": published_time_ms}
    return msgspec.json.encode(record)
