"""Events whose numbers are counted together: one compiled pass a table, where each event alone paid for a dozen.

What an event says in texts (history, consumed items, names of categories) is known at once; counters, pairs and times
are when somebody is about to look. Events count in their order, so every number ends as if each had been counted alone.
"""

from __future__ import annotations

import numpy as np

from features.config import NEGATIVE
from features.count_tables import PAIR_WINDOW, CountTables, Following
from features.declared_table import CountableEvent
from features.item_table import ItemTable
from features.user_state import UserTable


class OpenCounts:
    """Events that the numbers of three tables do not hold yet."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._item_rows: list[int] = []
        self._user_rows: list[int] = []
        self._times_ms: list[int] = []
        self._outcomes: list[int] = []
        self._category_rows: list[int] = []
        self._category_events: list[int] = []
        self._previous_rows: list[int] = []
        self._previous_ends: list[int] = []
        self._following: list[int] = []

    def add(self, event: CountableEvent, row: int, outcome: int, items: ItemTable, users: UserTable) -> None:
        """Take an event of an item, `row`; the texts of its user change now."""
        number = len(self._item_rows)
        if outcome != NEGATIVE:
            previous = items.rows_of_ids(users.newest_item_ids(event.user_id, PAIR_WINDOW))
            if previous:
                self._previous_rows += previous
                self._previous_ends.append(len(self._previous_rows))
                self._following.append(row)
        user_row, category_rows = users.note_event(event, items.category_names_of(row), outcome)
        self._item_rows.append(row)
        self._user_rows.append(user_row)
        self._times_ms.append(event.event_time_ms)
        self._outcomes.append(outcome)
        self._category_rows += category_rows
        self._category_events += [number] * len(category_rows)

    def settle(self, items: ItemTable, users: UserTable, counts: CountTables) -> None:
        """Count everything that was taken since the last call."""
        if not self._item_rows:
            return
        rows, times_ms = np.array(self._item_rows), np.array(self._times_ms)
        outcomes, every = np.array(self._outcomes), np.arange(len(rows))
        counts.count_events(rows, times_ms)
        if self._following:
            counts.count_all_following(
                Following(np.array(self._previous_rows), np.array(self._previous_ends), np.array(self._following))
            )
        items.counters.add_events(rows, every, times_ms, outcomes)
        users.counters.add_events(np.array(self._user_rows), every, times_ms, outcomes)
        if self._category_rows:
            of_categories = np.array(self._category_rows), np.array(self._category_events)
            users.category_counters.add_events(*of_categories, times_ms, outcomes)
        self._begin()
