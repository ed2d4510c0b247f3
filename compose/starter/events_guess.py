"""Which columns of an events file hold users, items, actions and times: guessed by names, proven on the first rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
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
_PATTERNS = tuple(
    f"{day} {clock}{zone}".rstrip()
    for day in ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y")
    for clock in ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "")
    for zone in ("", " UTC")
    if clock or not zone
)
"""Times as people and databases write them; what names no zone is UTC until the mapping says otherwise."""


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
    name, default = app_name_of(path.name.partition(".")[0]), "" if "action" in columns else actions[0].name
    time = _time_of(path, rows, columns["event_time"])
    return ImportAnswer(name, path.name, columns, default_action=default, **time), actions


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


def _time_of(path: Path, rows: Sequence[Row], column: str) -> dict[str, str]:
    """Return the unit of a column of times, or the pattern that they are written in."""
    values = [row[column] for row in rows if row.get(column) not in (None, "")]
    first = values[0] if values else None
    if isinstance(first, (datetime, date)):
        return {"time_unit": "ms"}
    with suppress(TypeError, ValueError):
        number = float(first)  # type: ignore[arg-type]
        return {"time_unit": next(unit for unit, bound in _UNITS if number < bound)}
    with suppress(ValueError):
        datetime.fromisoformat(str(first))
        return {"time_unit": "iso"}
    return {"time_format": _pattern(path, column, [str(value) for value in values])}


def _pattern(path: Path, column: str, values: Sequence[str]) -> str:
    """Return the one pattern that fits every time.

    Raises:
        EventsFileError: none does, or day and month cannot be told apart.
    """
    fitting = [pattern for pattern in _PATTERNS if all(_fits(pattern, value) for value in values)]
    if len(fitting) == 1:
        return fitting[0]
    shown = values[0] if values else ""
    why = f"fits {' and '.join(fitting)}" if fitting else "neither a number nor an ISO 8601 time"
    raise EventsFileError(
        f"{path}: {column} holds {shown!r:.60}, {why}; run `headrace init` without --events and write the mapping "
        "with a `format` by hand: docs/events.md#mappings"
    )


def _fits(pattern: str, value: str) -> bool:
    try:
        datetime.strptime(value, pattern)  # noqa: DTZ007 - only whether it can be read.
    except ValueError:
        return False
    return True
