"""What ranking baselines share: items and users in rows, fed event by event.

Letters: `N` items that had an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class UserPast:
    """What one user did before."""

    consumed: dict[int, None] = field(default_factory=dict)
    """Item rows with an event."""
    newest: list[int] = field(default_factory=list)
    """Rows of the newest events, oldest first."""


class Tables:
    """Items in the order of their first event, and users.

    Args:
        history: newest events kept of a user.
    """

    def __init__(self, history: int) -> None:
        self._history = history
        self._row_of: dict[str, int] = {}
        self._users: dict[str, UserPast] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def row_of(self, item_id: str) -> int:
        """Return the row of an item, -1 for one that had no event."""
        return self._row_of.get(item_id, -1)

    def user(self, user_id: str) -> UserPast:
        """Return a user, new or not."""
        return self._users.setdefault(user_id, UserPast())

    def add(self, user_id: str, item_id: str) -> int:
        """Feed one event; returns the item's row."""
        row = self._row_of.setdefault(item_id, len(self._row_of))
        user = self.user(user_id)
        user.consumed[row] = None
        user.newest = [*user.newest[-(self._history - 1) :], row]
        return row
