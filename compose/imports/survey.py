"""What a file would send: counted before anything is sent, and shown by `--dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compose.imports.errors import EventsFileError, UndeclaredActionsError
from compose.imports.row_mapper import MappedRow
from headrace_client import Event

_SHOWN_EVENTS = 3
_SHOWN_ACTIONS = 12
BAD_ROW = "rows that cannot be used"
UNDECLARED = "undeclared action {}"


@dataclass
class Survey:
    """The counts of one file."""

    file: Path
    rows: int = 0
    events: int = 0
    """To be sent."""
    actions: Counter[str] = field(default_factory=Counter)
    undeclared: Counter[str] = field(default_factory=Counter)
    """Actions that `headrace.yaml` does not have."""
    left_out: Counter[str] = field(default_factory=Counter)
    """By reason."""
    first_problem: str = ""
    """Of the first row that cannot be used."""
    first_events: list[Event] = field(default_factory=list)
    oldest_ms: int | None = None
    newest_ms: int | None = None

    def add(self, row: MappedRow, declared: Collection[str]) -> list[Event]:
        """Count one row and return the events of it that are to be sent."""
        self.rows += 1
        self.left_out.update(row.left_out)
        if row.problem:
            self.first_problem = self.first_problem or row.problem
            self.left_out[BAD_ROW] += 1
        wanted = [event for event in row.events if event.action in declared]
        self.undeclared.update(event.action for event in row.events if event.action not in declared)
        self.actions.update(event.action for event in wanted)
        self.events += len(wanted)
        self.first_events += wanted[: _SHOWN_EVENTS - len(self.first_events)]
        for event in wanted:
            if self.oldest_ms is None or event.event_time_ms < self.oldest_ms:
                self.oldest_ms = event.event_time_ms
            if self.newest_ms is None or event.event_time_ms > self.newest_ms:
                self.newest_ms = event.event_time_ms
        return wanted

    def check(self, declared: Collection[str], skip_unknown: bool) -> None:
        """Say whether the file can be sent.

        Raises:
            UndeclaredActionsError: it uses actions that are not declared, and they are not to be skipped.
            EventsFileError: it holds no events.
        """
        if self.undeclared and not skip_unknown:
            raise UndeclaredActionsError(self._undeclared_sentence(declared))
        self.left_out.update({UNDECLARED.format(name): count for name, count in self.undeclared.items()})
        if not self.events:
            left_out = f": of {self.rows} rows, {_listed(self.left_out)} were left out" if self.left_out else ""
            raise EventsFileError(f"{self.file} holds no events{left_out}; check the file and the mapping")

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the first events as they would travel."""
        return {
            "file": str(self.file),
            "rows": self.rows,
            "events": self.events,
            "actions": dict(self.actions.most_common()),
            "left_out": dict(self.left_out.most_common()),
            "oldest_time_ms": self.oldest_ms,
            "newest_time_ms": self.newest_ms,
            "first_events": [
                {name: value for name, value in asdict(event).items() if value not in (None, "", {})}
                for event in self.first_events
            ],
        }

    def _undeclared_sentence(self, declared: Collection[str]) -> str:
        number = len(self.undeclared)
        return (
            f"{self.file} uses {number} action{'s' if number > 1 else ''} that headrace.yaml does not declare: "
            f"{_listed(self.undeclared)}; it declares {', '.join(declared)}; declare them under `actions`, rename them"
            " under `actions` of the mapping, or leave their events out with --skip-unknown"
        )


def _listed(counts: Counter[str]) -> str:
    shown = [f"{name} ({count:,})" for name, count in counts.most_common(_SHOWN_ACTIONS)]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
