"""What can go wrong between a file and its events.

StackError
└── EventsFileError            2
    ├── BadRowError            2
    └── UndeclaredActionsError 2
"""

from __future__ import annotations

from compose.errors import StackError


class EventsFileError(StackError):
    """Expected: an events file cannot be used; the message names the column, the row or the action."""

    exit_code = 2


class BadRowError(EventsFileError):
    """Expected: one row cannot become an event; `--skip-bad` leaves it out."""


class UndeclaredActionsError(EventsFileError):
    """Expected: the file uses actions that `headrace.yaml` does not declare."""
