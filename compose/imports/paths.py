"""Where a field stands in a row: `name`, `outer.inner`, or `list[key]` for GA4's lists of key/value pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(r"([^.\[\]]+)(?:\[([^\[\]]+)\])?")
_NONE: Any = object()


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A parsed path."""

    text: str
    steps: tuple[tuple[str, str], ...]
    """Name and key of each step; the key is empty where there is none."""

    @property
    def column(self) -> str:
        """The column of a table that the path begins with."""
        return self.steps[0][0]

    def is_below(self, other: FieldPath) -> bool:
        """Say whether this path is `other` or leads into it."""
        return self.steps[: len(other.steps)] == other.steps


def parse_path(text: str) -> FieldPath:
    """Parse `a`, `a.b`, `a[key]` and their combinations.

    Raises:
        ValueError: `text` is anything else.
    """
    steps = []
    for part in re.split(r"\.(?![^\[]*\])", text):  # Not at a dot inside brackets.
        match = _STEP.fullmatch(part)
        if match is None:
            raise ValueError(f"{text!r} is not a path; write for example 'user.id', 'items.item_id' or 'params[page]'")
        steps.append((match[1], match[2] or ""))
    return FieldPath(text, tuple(steps))


def value_at(row: Mapping[str, Any], path: FieldPath, exploded: FieldPath | None = None, element: Any = _NONE) -> Any:
    """Return what stands at `path`, None where nothing does.

    Args:
        row: one row of a file.
        path: where to look; a column that is named like the whole path wins.
        exploded: the list that the row is split by, if it is.
        element: the element of that list which stands for the whole list here.
    """
    if element is not _NONE and exploded is not None and path.is_below(exploded):
        return _walk(element, path.steps[len(exploded.steps) :])
    if path.text in row:
        return row[path.text]
    return _walk(row, path.steps)


def list_at(row: Mapping[str, Any], path: FieldPath) -> list[Any]:
    """Return the elements at `path`, none where there is nothing to split by."""
    value = _opened(value_at(row, path))
    if isinstance(value, Mapping):
        # BigQuery writes parquet lists as {"list": [{"element": ...}]}.
        inner = value.get("list") if set(value) == {"list"} else None
        if isinstance(inner, list):
            return [next(iter(each.values()), None) if _is_wrapper(each) else each for each in inner]
        return [value]
    return value if isinstance(value, list) else []


def _is_wrapper(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) in ({"element"}, {"item"})


def _walk(value: Any, steps: tuple[tuple[str, str], ...]) -> Any:
    for name, key in steps:
        tree = _opened(value)
        if not isinstance(tree, Mapping):
            return None
        value = tree.get(name)
        if key:
            value = _entry(_opened(value), key)
    return value


def _opened(value: Any) -> Any:
    """Return JSON text as what it says, and parquet's map (a list of pairs) as a map."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    if isinstance(value, list) and value and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return dict(value)
    return value


def _entry(value: Any, key: str) -> Any:
    """Return the value for `key` of a map or of a list of {key, value}."""
    if isinstance(value, Mapping):
        return value.get(key)
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, Mapping) and entry.get("key") == key:
            return _plain(entry.get("value"))
    return None


def _plain(value: Any) -> Any:
    """Return the one member that is set of GA4's {string_value, int_value, float_value, double_value}."""
    if isinstance(value, Mapping):
        return next((member for member in value.values() if member is not None), None)
    return value
