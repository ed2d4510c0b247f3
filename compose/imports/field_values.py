"""Cells of a file become the values of an event's fields, or the sentence that says why not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from headrace_client.records import check_id

_MAX_EXACT = 2**53
"""Above it a float no longer tells whole numbers apart."""
_MAX_TIME_MS = 1e14
"""The year 5138: what is above is microseconds or nanoseconds."""
_PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
_UNIT_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def is_missing(value: Any) -> bool:
    """Say whether a cell is empty."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def id_of(label: str, value: Any) -> str:
    """Take text, and whole numbers as files like to write ids.

    Raises:
        ValueError: it is neither, or too long for an id.
    """
    if isinstance(value, float) and value.is_integer():  # Data frames write a column of ids with gaps as floats.
        if abs(value) > _MAX_EXACT:
            raise ValueError(f"{label} {value!r} has lost its last digits as a decimal number; write it as text")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{label} must be text or a whole number, not {value!r}")
    check_id(label, str(value))
    return str(value)


def text_of(label: str, value: Any) -> str:
    """Take text that is no id, of any length.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"{label} must be text, not {value!r:.40}")
    return value


def number_of(label: str, value: Any) -> float:
    """Take a finite number.

    Raises:
        ValueError: it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{label} must be a number, not {value!r:.40}") from error
    if isinstance(value, bool):
        raise ValueError(f"{label} must be a number, not {value}")
    if not math.isfinite(number):
        raise ValueError(f"{label} must be finite, not {value!r}")
    return number


def time_ms_of(label: str, value: Any, unit: str, pattern: str, zone: str) -> int:
    """Return milliseconds since 1970.

    Args:
        label: names the cell in errors.
        value: a timestamp (any unit), a day (its midnight), a number in `unit`, or text as `iso` or `pattern` says.
        unit: `ms`, `s`, `us`, `ns` or `iso`.
        pattern: of `strptime`; when not empty, `unit` does not matter.
        zone: of a timestamp that names none.

    Raises:
        ValueError: it is no such time.
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time())
    elif pattern or unit == "iso":
        moment = _parsed(label, value, pattern)
    else:
        return _counted(label, value, unit)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone))
    return _in_range(label, math.floor(aware.timestamp() * 1000 + 0.5), value)


def texts_of(label: str, value: Any) -> dict[str, str]:
    """Take a map, parquet's list of pairs, or a JSON object as text.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{label} must be a JSON object, not {value!r:.40}") from error
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(value, (Mapping, list)) or not all(isinstance(p, (tuple, list)) and len(p) == 2 for p in pairs):
        raise ValueError(f"{label} must map names to texts, not {value!r:.40}")
    return {str(name): plain_text(text) for name, text in pairs if text is not None}


def plain_text(value: Any) -> str:
    """Return text as it is, and anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _parsed(label: str, value: Any, pattern: str) -> datetime:
    try:
        # A time without a zone is meant: the mapping's own zone is put in by the caller.
        return datetime.strptime(value, pattern) if pattern else datetime.fromisoformat(value)  # noqa: DTZ007
    except (TypeError, ValueError) as error:
        shape = f"a time like {pattern!r}" if pattern else "an ISO 8601 time"
        raise ValueError(f"{label} must be {shape}, not {value!r}") from error


def _counted(label: str, value: Any, unit: str) -> int:
    wanted = f"{_UNIT_WORDS[unit]} since 1970"
    try:
        # Nanoseconds do not fit a float.
        number = math.nan if isinstance(value, bool) else _whole_or_float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{label} must be {wanted}, not {value!r}") from error
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"{label} must be {wanted}, not {value!r}")
    if unit == "ms" and isinstance(number, float) and not number.is_integer():
        raise ValueError(f"{label} must be whole {wanted}, not {value!r}")
    per_second = _PER_SECOND[unit]
    time_ms = number * (1000 // per_second) if per_second <= 1000 else number // (per_second // 1000)
    return _in_range(
        label, math.floor(time_ms + 0.5) if isinstance(time_ms, float) else time_ms, value, f"whole {wanted}"
    )


def _whole_or_float(value: Any) -> int | float:
    return int(value) if isinstance(value, int) or str(value).isdigit() else float(value)


def _in_range(label: str, time_ms: int, value: Any, wanted: str = "a time between 1970 and 5138") -> int:
    if not 0 < time_ms < _MAX_TIME_MS:  # 0 is how many write that they do not know.
        raise ValueError(f"{label} must be {wanted}, not {value!r}")
    return time_ms
