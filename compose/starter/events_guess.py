"""Which columns of an events file hold users, items, actions and times: guessed by names, proven on the first rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from compose.imports.errors import EventsFileError
from compose.imports.rows import Row, read_rows
from compose.starter.answers import ActionAnswer, ImportAnswer, app_name_of, guess_action

_ROWS = 200_000
_MAX_ACTIONS = 40
"""More different texts than this are no actions."""
_NAMES: Mapping[str, Sequence[str]] = {
    "user_id": ("user_id", "userid", "user", "customer_id", "customerid", "customer", "visitor_id", "visitorid",
                "account_id", "member_id", "uid", "session_id"),
    "item_id": ("item_id", "itemid", "item", "product_id", "productid", "product", "sku", "movie_id", "movieid",
                "article_id", "content_id", "track_id", "asin", "iid"),
    "event_time": ("event_time_ms", "event_time", "timestamp", "time", "ts", "date", "datetime", "created_at",
                   "occurred_at", "unix_timestamp", "at"),
    "action": ("action", "event_type", "eventtype", "event", "event_name", "behavior", "behaviour", "type", "kind"),
    "value": ("value", "rating", "stars", "score", "price", "amount", "dwell_s"),
}  # fmt: skip
_UNITS = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", math.inf))
"""A number of this unit stays below this bound until the year 5138."""


def guess_import(path: Path) -> tuple[ImportAnswer, list[ActionAnswer]]:
    """Look at the first rows of a file; return how to read it and what its actions seem to say.

    Raises:
        EventsFileError: it cannot be read, or has no column that looks like users, items or times.
    """
    rows = [
        row for row in islice(read_rows(path, _Everything(), lambda _names: None), _ROWS) if isinstance(row, Mapping)
    ]
    if not rows:
        raise EventsFileError(f"{path} holds no rows; give a file with a header and at least one event")
    columns = _columns(path, list(dict.fromkeys(name for row in rows[:100] for name in row)))
    names = _actions(rows, columns)
    actions = [guess_action(name) for name in names]
    unit = _unit(path, rows, columns["event_time"])
    name, default = app_name_of(path.name.partition(".")[0]), "" if "action" in columns else actions[0].name
    return ImportAnswer(name, path.name, columns, unit, default), actions


class _Everything(Collection[str]):
    """All columns, whatever they are called."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def _columns(path: Path, found: Sequence[str]) -> dict[str, str]:
    by_name = {name.lower().replace("-", "_").replace(" ", "_"): name for name in found}
    columns = {
        field: next(by_name[known] for known in names if known in by_name)
        for field, names in _NAMES.items()
        if any(known in by_name for known in names)
    }
    missing = [field for field in ("user_id", "item_id", "event_time") if field not in columns]
    if missing:
        raise EventsFileError(
            f"{path} has no column that looks like {', '.join(missing)}; its columns are {', '.join(found)}. Run "
            "`headrace init` without --events and write the mapping by hand: docs/events.md#mappings"
        )
    return columns


def _actions(rows: Sequence[Row], columns: dict[str, str]) -> list[str]:
    """Return the file's actions, the most frequent first; a column that holds none is dropped from `columns`."""
    if column := columns.get("action"):
        counts = Counter(str(row[column]) for row in rows if row.get(column) not in (None, ""))
        if 0 < len(counts) <= _MAX_ACTIONS:
            return [name for name, _ in counts.most_common()]
        del columns["action"]
    return ["rating"] if columns.get("value", "").lower() in ("rating", "stars", "score") else ["click"]


def _unit(path: Path, rows: Sequence[Row], column: str) -> str:
    value = next((row[column] for row in rows if row.get(column) not in (None, "")), None)
    if isinstance(value, (datetime, date)):
        return "ms"
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return _iso(path, column, value)
    return next(unit for unit, bound in _UNITS if number < bound)


def _iso(path: Path, column: str, value: object) -> str:
    try:
        datetime.fromisoformat(str(value))
    except ValueError as error:
        raise EventsFileError(
            f"{path}: {column} holds {value!r:.60}, neither a number nor an ISO 8601 time; run `headrace init` without "
            "--events and write the mapping with a `format` by hand: docs/events.md#mappings"
        ) from error
    return "iso"
