"""Events files for `headrace replay`: parquet, JSON lines or CSV with the columns of `headrace.events.v1`."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from compose.errors import StackError
from headrace_client import Event
from headrace_client.records import check_id

REQUIRED = ("user_id", "item_id", "action", "event_time_ms")
OPTIONAL_TEXTS = ("event_id", "request_id", "request_token", "session_id")
_MAX_TIME_MS = 1e14
"""The year 5138: what is above is microseconds or nanoseconds."""


class EventsFileError(StackError):
    """Expected: an events file cannot be used; the message names the column or the row."""

    exit_code = 2


def read_events(path: Path, salt: str = "") -> list[Event]:
    """Read a file whole and return its events in time order, `event_time_ms` as in the file.

    Rows without an `event_id` get one made of their content, their row number and `salt`: the same file replayed twice
    counts once, with another salt twice.

    Raises:
        EventsFileError: the file, a column or a row cannot be used; the message names it.
    """
    readers = {".parquet": _parquet_rows, ".jsonl": _json_rows, ".ndjson": _json_rows, ".csv": _csv_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise EventsFileError(f"{path} has no known ending; give one of {', '.join(readers)}")
    try:
        events = [_event_of(path, number, row, salt) for number, row in enumerate(reader(path), start=1)]
    except OSError as error:
        raise EventsFileError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise EventsFileError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    if not events:
        raise EventsFileError(f"{path} holds no events")
    return sorted(events, key=lambda event: event.event_time_ms)


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    file = pq.ParquetFile(path)
    _check_columns(path, file.schema_arrow.names)
    wanted = [name for name in file.schema_arrow.names if name in (*REQUIRED, *OPTIONAL_TEXTS, "value", "context")]
    for batch in file.iter_batches(columns=wanted):
        yield from batch.to_pylist()


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        _check_columns(path, reader.fieldnames or ())
        yield from reader


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise EventsFileError(f"{path}: row {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise EventsFileError(f"{path}: row {number} must be a JSON object, not {type(row).__name__}")
            yield row


def _check_columns(path: Path, names: Any) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise EventsFileError(
            f"{path} lacks the column {', '.join(missing)}; it has {', '.join(names) or 'none'},"
            f" and an events file needs {', '.join(REQUIRED)}"
        )


def _event_of(path: Path, number: int, row: Mapping[str, Any], salt: str) -> Event:
    """Turn one row into an event.

    Raises:
        EventsFileError: a field cannot be used; names row, field and value.
    """
    try:
        texts = {name: _text(name, row.get(name)) for name in ("user_id", "item_id", "action")}
        optional = {name: _optional_text(name, row.get(name)) for name in OPTIONAL_TEXTS}
        event = Event(
            **texts,
            **optional,
            value=_number(row.get("value")),
            context=_context(row.get("context")),
            event_time_ms=_time_ms(row.get("event_time_ms")),
        )
    except (ValueError, OverflowError) as error:  # InvalidRecordError is a ValueError.
        raise EventsFileError(f"{path}: row {number}: {error}") from error
    return event if event.event_id else replace(event, event_id=_content_id(event, number, salt))


def _content_id(event: Event, number: int, salt: str) -> str:
    """Return the same id for the same row of the same file, 32 hexadecimal digits."""
    content = [salt, number, event.user_id, event.item_id, event.action, event.event_time_ms, event.value]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _text(name: str, value: Any) -> str:
    """Take text, and whole numbers as files like to write ids."""
    if _is_missing(value):
        raise ValueError(f"{name} is missing")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{name} must be text or a whole number, not {value!r}")
    check_id(name, str(value))
    return str(value)


def _optional_text(name: str, value: Any) -> str:
    return "" if _is_missing(value) else _text(name, value)


def _number(value: Any) -> float | None:
    if _is_missing(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"value must be a number, not {value!r}") from error
    if not math.isfinite(number):
        raise ValueError(f"value must be finite, not {value!r}")
    return number


def _time_ms(value: Any) -> int:
    """Take milliseconds since 1970 or a timestamp; a timestamp without a zone is UTC."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    if _is_missing(value):
        raise ValueError("event_time_ms is missing")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"event_time_ms must be milliseconds since 1970, not {value!r}") from error
    if not number.is_integer() or not 0 <= number < _MAX_TIME_MS:
        raise ValueError(f"event_time_ms must be whole milliseconds since 1970, not {value!r}")
    return int(number)


def _context(value: Any) -> dict[str, str]:
    """Take a map, parquet's list of pairs, or a JSON object as text."""
    if _is_missing(value):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"context must be a JSON object, not {value!r:.40}") from error
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(value, (Mapping, list)) or not all(len(pair) == 2 for pair in pairs):
        raise ValueError(f"context must map names to texts, not {value!r:.40}")
    return {str(name): str(text) for name, text in pairs if text is not None}


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
