"""Events files for `headrace replay`: whole in memory and in time order, because a replay keeps their spacing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from compose.imports.events_file import EventsFile, ImportOptions
from compose.imports.survey import Survey
from headrace_client import Event


def read_events(
    path: Path, options: ImportOptions, on_row: Callable[[int], object] = lambda _number: None
) -> tuple[list[Event], Survey]:
    """Read a file and return its events in time order, `event_time_ms` as in the file, and what was counted.

    Raises:
        EventsFileError: the file, a column, a row or an action cannot be used; the message names it.
    """
    file = EventsFile(path, options)
    survey = file.survey(on_row)
    events = [event for _, row_events in file.rows() for event in row_events]
    return sorted(events, key=lambda event: event.event_time_ms), survey
