"""Files of events for tests, and the options to read them with."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from compose.imports.events_file import EventsFile, ImportOptions
from compose.imports.mapping import MappingConfig
from compose.imports.shipped import NATIVE, SHIPPED
from compose.imports.survey import Survey
from headrace_client import Event

DECLARED = ("view", "click", "like", "purchase", "rating")
ROWS: list[dict[str, Any]] = [
    {"user_id": "u2", "item_id": "7", "action": "rating", "event_time_ms": 2000, "value": 4.5},
    {"user_id": "u1", "item_id": "8", "action": "click", "event_time_ms": 1000, "value": None},
]


def native_options(**changes: Any) -> ImportOptions:
    """Options for files with our own fields."""
    return shipped_options(NATIVE, **changes)


def shipped_options(name: str, **changes: Any) -> ImportOptions:
    """Options with a shipped mapping."""
    return ImportOptions(MappingConfig.model_validate(dict(SHIPPED[name])), DECLARED, **changes)


def mapping_options(**mapping: Any) -> ImportOptions:
    """Options with our own fields but for the changes."""
    return ImportOptions(MappingConfig.model_validate({**SHIPPED[NATIVE], **mapping}), DECLARED)


def read(path: Path, options: ImportOptions) -> tuple[list[Event], Survey]:
    """Survey a file and read it: all events in the order of the file."""
    file = EventsFile(path, options)
    survey = file.survey()
    return [event for _, events in file.rows() for event in events], survey


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """A JSON lines file; gzipped where its name ends in .gz."""
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A parquet file."""
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
