"""An events file under a mapping: surveyed first, then read again event by event, never whole in memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compose.imports.errors import BadRowError, EventsFileError
from compose.imports.event_ids import ContentIds, content_of, prefix_of, repeated_contents
from compose.imports.mapping import MappingConfig
from compose.imports.row_mapper import MappedRow, RowMapper
from compose.imports.rows import UnreadableRow, read_rows
from compose.imports.survey import Survey
from headrace_client import Event


@dataclass(frozen=True)
class ImportOptions:
    """How a file is read."""

    mapping: MappingConfig
    declared: Collection[str]
    """The actions of `headrace.yaml`."""
    salt: str = ""
    """Another text makes other ids for events that have none."""
    skip_unknown: bool = False
    """Leave out events of actions that are not declared, instead of refusing the file."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, instead of refusing the file."""


class EventsFile:
    """One file. `survey` must come before `rows`: it finds the rows that occur twice.

    Needs 8 bytes of memory for each event without an id, nothing else of the file is kept.
    """

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.path = path
        self._options = options
        self._mapper = RowMapper(path, options.mapping)
        self._repeated: Collection[int] = ()
        self._stamp: tuple[int, int] | None = None

    def survey(self, on_row: Callable[[int], object] = lambda _number: None) -> Survey:
        """Read the whole file once and check it; nothing can go wrong later but the file changing.

        Args:
            on_row: told the number of every row.

        Raises:
            EventsFileError: the file, a column, a row or an action cannot be used; the message names it.
        """
        survey, prefixes = Survey(self.path), array("Q")
        self._stamp = self._stamp_now()
        for row in self._mapped():
            for event in survey.add(row, self._options.declared):
                if not event.event_id:
                    prefixes.append(prefix_of(content_of(event, self._options.salt)))
            on_row(row.number)
        survey.check(self._options.declared, self._options.skip_unknown)
        self._repeated = repeated_contents(np.frombuffer(prefixes, dtype=np.uint64)) if prefixes else ()
        ids = ContentIds(self._options.salt, self._repeated)
        survey.first_events = [ids.identify(event) for event in survey.first_events]
        return survey

    def rows(self) -> Iterator[tuple[int, list[Event]]]:
        """Yield the number of every row with its events, each with an id, in the order of the file.

        Raises:
            EventsFileError: the file is not what was surveyed.
        """
        ids = ContentIds(self._options.salt, self._repeated)
        for row in self._mapped():
            yield row.number, [ids.identify(event) for event in row.events if event.action in self._options.declared]
        if self._stamp_now() != self._stamp:
            raise EventsFileError(f"{self.path} changed while it was read; run the command again once it is complete")

    def _mapped(self) -> Iterator[MappedRow]:
        rows = read_rows(self.path, self._mapper.columns, self._mapper.check_columns)
        for number, row in enumerate(rows, start=1):
            if isinstance(row, UnreadableRow):
                mapped = MappedRow(number, (), problem=f"{self.path}: row {number} {row.reason}")
            else:
                mapped = self._mapper.map_row(number, row)
            if mapped.problem and not self._options.skip_bad:
                raise BadRowError(f"{mapped.problem}; mend it, or leave such rows out with --skip-bad")
            yield mapped

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None  # Reading says it better.
        return status.st_size, status.st_mtime_ns
