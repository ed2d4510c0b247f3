"""One row of a foreign file becomes the events that it tells of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from compose.imports.errors import EventsFileError
from compose.imports.field_values import id_of, is_missing, number_of, plain_text, text_of, texts_of, time_ms_of
from compose.imports.mapping import MappingConfig
from compose.imports.paths import FieldPath, list_at, parse_path, value_at
from headrace_client import Event
from headrace_client.records import MAX_ID_BYTES, MAX_RECORD_BYTES, encode_event

_IDS = ("user_id", "item_id", "action", "event_id", "request_id", "session_id")
_TEXTS = ("request_token", "value", "context_map")
_ROOM_BYTES = 64
"""For what a replay adds to an event: its own time."""
_ANY_ID = "0" * 32
"""In place of the id that an event gets later."""
_REQUIRED = ("user_id", "item_id", "action", "event_time")
_WHOLE_ROW: Any = object()


class _LeftOutError(Exception):
    """Expected: this row makes no event, as the mapping wants it; the message is the reason that is counted."""


@dataclass(frozen=True, slots=True)
class MappedRow:
    """What became of one row."""

    number: int
    """Of the row in the file, from 1."""
    events: tuple[Event, ...]
    """`event_id` is empty where the file has none."""
    left_out: tuple[str, ...] = ()
    """Why other events of the row were left out."""
    problem: str = ""
    """Why the row cannot be used, where it cannot."""


class RowMapper:
    """Applies a mapping to the rows of one file.

    Args:
        file: named in errors.
        mapping: which column is which field.
    """

    def __init__(self, file: Path, mapping: MappingConfig) -> None:
        self._file = file
        self._mapping = mapping
        self._paths = {name: _parsed(getattr(mapping, name)) for name in (*_IDS, *_TEXTS)}
        self._paths["event_time"] = _parsed(mapping.event_time.path)
        self._context = {name: _parsed(paths) for name, paths in mapping.context.items()}
        self._where = [(parse_path(path), frozenset(texts)) for path, texts in mapping.where.items()]
        self._explode = parse_path(mapping.explode) if mapping.explode else None
        self._missing = frozenset(mapping.missing_values)
        self._labels = {name: _label(name, paths) for name, paths in self._paths.items()}

    @property
    def columns(self) -> set[str]:
        """Every column that the mapping looks at."""
        groups = (*self._paths.values(), *self._context.values(), [path for path, _ in self._where])
        paths = [path for group in groups for path in group] + [path for path in [self._explode] if path is not None]
        return {path.column for path in paths} | {path.text for path in paths}

    def check_columns(self, names: Collection[str]) -> None:
        """Refuse a table that lacks a column without which no row can be an event, or has one of them twice.

        Raises:
            EventsFileError: names what is missing and what is there.
        """
        twice = [name for name in sorted(self.columns) if list(names).count(name) > 1]
        if twice:
            raise EventsFileError(f"{self._file} has the column {', '.join(twice)} twice; rename the one not meant")
        spared = {*self._mapping.skip_missing, *(["action"] if self._mapping.default_action else [])}
        required = [name for name in _REQUIRED if self._paths[name] and name not in spared]
        missing = [
            " or ".join(path.column for path in self._paths[name])
            for name in required
            if not any(path.column in names or path.text in names for path in self._paths[name])
        ]
        if missing:
            needed = ", ".join(" or ".join(path.text for path in self._paths[name]) for name in required)
            raise EventsFileError(
                f"{self._file} lacks the column {', '.join(missing)}; it has {', '.join(names) or 'none'},"
                f" and this mapping needs {needed}; name a mapping that fits with --mapping"
            )

    def map_row(self, number: int, row: Mapping[str, Any]) -> MappedRow:
        """Turn one row into its events; `problem` says what is wrong with a row that cannot be used."""
        if not all(plain_text(value_at(row, path)) in texts for path, texts in self._where):
            return MappedRow(number, (), (f"not {' and '.join(self._mapping.where)} as wanted",))
        elements = list_at(row, self._explode) if self._explode is not None else []
        events, left_out = [], []
        try:
            for index, element in enumerate(elements or [_WHOLE_ROW]):
                try:
                    events.append(self._event_of(_Cells(row, self._explode, element, self._missing), index))
                except _LeftOutError as reason:
                    left_out.append(str(reason))
        except (ValueError, OverflowError) as error:  # InvalidRecordError is a ValueError.
            return MappedRow(number, (), problem=f"{self._file}: row {number}: {error}")
        return MappedRow(number, tuple(events), tuple(left_out))

    def _event_of(self, cells: _Cells, index: int) -> Event:
        action = self._action(cells)
        ids = {name: self._required_id(cells, name) for name in ("user_id", "item_id")}
        optional = {name: self._optional_id(cells, name) for name in _IDS[3:]}
        if optional["event_id"] and cells.is_element:
            optional["event_id"] = _id_of_element(optional["event_id"], index)
        value, token = (cells.first(self._paths[name]) for name in ("value", "request_token"))
        event = Event(
            **ids,
            action=action,
            event_time_ms=self._time_ms(cells),
            value=None if is_missing(value) else number_of(self._labels["value"], value),
            context=self._context_of(cells),
            request_token="" if is_missing(token) else text_of(self._labels["request_token"], token),
            **optional,
        )
        if event.context or event.request_token:  # All else is bounded by itself.
            _check_can_be_sent(event)
        return event

    def _action(self, cells: _Cells) -> str:
        value = cells.first(self._paths["action"])
        if is_missing(value):
            if self._mapping.default_action:
                return self._mapping.default_action
            self._refuse_missing("action")
        text = id_of(self._labels["action"], value)
        if text in self._mapping.actions:
            return self._mapping.actions[text]
        if self._mapping.other_actions == "skip":
            raise _LeftOutError(f"action {text}")
        return text

    def _required_id(self, cells: _Cells, name: str) -> str:
        value = cells.first(self._paths[name])
        if is_missing(value):
            self._refuse_missing(name)
        return id_of(self._labels[name], value)

    def _optional_id(self, cells: _Cells, name: str) -> str:
        value = cells.first(self._paths[name])
        return "" if is_missing(value) else id_of(self._labels[name], value)

    def _time_ms(self, cells: _Cells) -> int:
        source = self._mapping.event_time
        value = cells.first(self._paths["event_time"])
        if is_missing(value):
            self._refuse_missing("event_time")
        return time_ms_of(self._labels["event_time"], value, source.unit, source.format, source.zone)

    def _context_of(self, cells: _Cells) -> dict[str, str]:
        whole = cells.first(self._paths["context_map"])
        texts = {} if is_missing(whole) else texts_of(self._labels["context_map"], whole)
        for name, paths in self._context.items():
            value = cells.first(paths)
            if not is_missing(value):
                texts[name] = plain_text(value)
        return texts

    def _refuse_missing(self, name: str) -> None:
        if name in self._mapping.skip_missing:
            raise _LeftOutError(f"no {name}")
        raise ValueError(f"{self._labels[name]} is missing")


class _Cells:
    """The cells of one row, or of one element of its exploded list."""

    def __init__(
        self, row: Mapping[str, Any], explode: FieldPath | None, element: Any, missing: frozenset[str]
    ) -> None:
        self._row = row
        self._missing = missing
        self.is_element = element is not _WHOLE_ROW
        self._exploded = (explode, element) if self.is_element else ()

    def first(self, paths: tuple[FieldPath, ...]) -> Any:
        """Return the first value that is there, None where none is."""
        for path in paths:
            value = value_at(self._row, path, *self._exploded)
            if not is_missing(value) and not (isinstance(value, str) and value in self._missing):
                return value
        return None


def _check_can_be_sent(event: Event) -> None:
    size = len(encode_event(event if event.event_id else replace(event, event_id=_ANY_ID))[1])
    if size > MAX_RECORD_BYTES - _ROOM_BYTES:
        raise ValueError(f"the event has {size} bytes, more than {MAX_RECORD_BYTES - _ROOM_BYTES}; map less context")


def _id_of_element(event_id: str, index: int) -> str:
    numbered = f"{event_id}:{index}"
    return numbered if len(numbered.encode()) <= MAX_ID_BYTES else sha256(numbered.encode()).hexdigest()[:32]


def _parsed(paths: tuple[str, ...]) -> tuple[FieldPath, ...]:
    return tuple(parse_path(path) for path in paths)


def _label(name: str, paths: tuple[FieldPath, ...]) -> str:
    """Return the name of a field in errors, with its columns where they are called something else."""
    texts = [path.text for path in paths]
    if texts in ([name], [f"{name}_ms"], []) or (name, texts) == ("context_map", ["context"]):
        return texts[0] if texts else name
    return f"{name} ({' or '.join(texts)})"
