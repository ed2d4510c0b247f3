"""The trainer's own view of the world, and the lists it builds from it where nobody was served one.

An organic positive becomes a list at that moment: same tables, same candidate code and same inputs as the server's.
Letters: `N` items (rows of the `ItemTable`), `L` history, `D` embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.candidate_pool import Workspace
from features.candidates import (
    CandidateList,
    ListContext,
    UserRows,
    build_list,
    context_arrays,
    context_from_arrays,
    list_context,
    renew_facts,
    with_more_rows,
)
from features.config import POSITIVE, FeaturesConfig
from features.count_tables import CountTables
from features.item_summary import ItemSummary
from features.item_table import ItemTable
from features.model_inputs import first_pre_ranker_weights
from features.tower_scores import TowerQuery
from features.user_state import UserState, UserTable
from trainer.open_counts import OpenCounts
from trainer.samples import Event


@dataclass(frozen=True)
class UserMoment:
    """A user just before an event."""

    state: UserState
    history_rows: NDArray[np.int64]
    """(L,) newest first."""


_ITEMS_OF_A_MS = 50
"""What lists share may be a millisecond of stream time, or an event, older for every so many items: a pass over 20,000
takes as long as ten lists, and comes at most every 400 ms or events."""


class ListBuilder:
    """Live tables fed by events in sample order, and candidate lists as of any moment of them.

    Args:
        features: half-lives, history length and limits.
        only_seen: list only items that had an event, as `evaluate` must.
    """

    def __init__(self, features: FeaturesConfig, only_seen: bool = False) -> None:
        self._features = features
        self.only_seen = only_seen
        """Whether an item without an event stays out of lists; not part of the state."""
        self.items = ItemTable(features)
        self.users = UserTable(features)
        self.counts = CountTables.empty(features)
        self.pre_ranker = first_pre_ranker_weights(features)
        """(P,) as learnt so far."""
        self._workspace = Workspace()
        self._open = OpenCounts()
        self._every_row: NDArray[np.int64] = np.arange(64)
        self._context: ListContext | None = None
        self._events_since = 0
        """Events counted since the context was made."""
        self._may_renew = True

    def begin_batch(self) -> None:
        """Let the next list renew what lists share, if it is old: within a micro-batch it stays as it is."""
        self._may_renew = True

    def settle(self) -> None:
        """See to it that every table holds all events that were counted."""
        self._open.settle(self.items, self.users, self.counts)

    def moment(self, user_id: str, now_ms: int) -> UserMoment:
        """Return a user as of `now_ms`, before anything that is not counted yet."""
        self.settle()
        state = self.users.state(user_id, now_ms)
        return UserMoment(state, self.items.rows_of(state.history_item_ids))

    def moment_before(self, event: Event) -> UserMoment:
        """Return a user with the history before an event that is counted already."""
        self.settle()
        state = self.users.state(event.user_id, event.event_time_ms)
        is_before = state.history_times_ms < event.event_time_ms
        state = replace(
            state,
            history_item_ids=tuple(compress(state.history_item_ids, is_before)),
            history_outcomes=state.history_outcomes[is_before],
            history_times_ms=state.history_times_ms[is_before],
        )
        return UserMoment(state, self.items.rows_of(state.history_item_ids))

    def build(self, moment: UserMoment, tower: TowerQuery | None, now_ms: int) -> CandidateList:
        """Build the list this user would have been ranked on."""
        consumed = self.items.rows_of(moment.state.consumed)
        return self._build(moment, consumed, tower, now_ms, None)

    def build_given(
        self, moment: UserMoment, rows: NDArray[np.int64], tower: TowerQuery | None, now_ms: int
    ) -> CandidateList:
        """Compute the inputs of exactly these items, whether consumed or not; rows (n,)."""
        return self._build(moment, np.zeros(0, dtype=np.int64), tower, now_ms, rows)

    def _build(
        self,
        moment: UserMoment,
        consumed: NDArray[np.int64],
        tower: TowerQuery | None,
        now_ms: int,
        given: NDArray[np.int64] | None,
    ) -> CandidateList:
        self.settle()
        rows = UserRows(moment.history_rows, consumed, self.items.rows_of(moment.state.shown_item_ids))
        context = self._context_at(now_ms)
        return build_list(
            moment.state, rows, context, now_ms, tower, self._features, self.pre_ranker, self._workspace, given
        )

    def _context_at(self, now_ms: int) -> ListContext:
        """Return what the lists of this micro-batch share; items that came since are listed without their counts."""
        size = len(self.items)
        if self._context is None or (self._may_renew and self._is_old(self._context, now_ms)):
            self._events_since = 0
            self.counts.reserve(size)
            summary = ItemSummary.of_table(self.items, now_ms, self.only_seen)
            self._context = list_context(summary, self.items, self.counts, self._rows(size))
        elif len(self._context.table_rows) < size:
            self.counts.reserve(size)
            is_listable = ItemSummary.listable(self.items, now_ms, self.only_seen)
            self._context = with_more_rows(self._context, self._rows(size), is_listable)
        self._may_renew = False
        return self._context

    def _is_old(self, context: ListContext, now_ms: int) -> bool:
        """Say whether sums over all items are due again; a large catalogue waits longer, as each pass costs it more."""
        limit = len(self.items) // _ITEMS_OF_A_MS
        return self._events_since >= limit or abs(now_ms - context.summary.now_ms) >= limit

    def _rows(self, size: int) -> NDArray[np.int64]:
        while size > len(self._every_row):
            self._every_row = np.arange(2 * len(self._every_row))
        return self._every_row[:size]

    def set_item(
        self,
        item_id: str,
        title: str = "",
        categories: Sequence[str] = (),
        is_available: bool = True,
        published_time_ms: int = 0,
        expires_time_ms: int = 0,
    ) -> None:
        """Take over an item record; see `ItemTable.set_item`."""
        self.items.set_item(item_id, categories, is_available, published_time_ms, expires_time_ms)
        row = self.items.row_of(item_id)
        self.counts.titles.set_title(row, title)
        context = self._context
        if context is not None and row < len(context.is_listable):
            renew_facts(context, row)
            is_known = not self.only_seen or self.counts.has_event(row)
            context.is_listable[row] = is_known and self.items.is_available(row, context.summary.now_ms)

    def count_event(self, event: Event) -> None:
        """Feed one event to all tables; call it only after everything that predicts this event is computed.

        Counters of users and items, pairs and times hold it at the next moment or list, or after `settle`.
        """
        row = self.items.ensure_row(event.item_id)
        self.items.note_event(row, event)
        self._open.add(event, row, event.outcome, self.items, self.users)
        self._events_since += 1
        if self.only_seen and self._context is not None and row < len(self._context.is_listable):
            self._context.is_listable[row] = self.items.is_available(row, event.event_time_ms)
        if event.is_answer and event.outcome == POSITIVE:
            self.items.add_list_click(event.item_id, event.event_time_ms)

    def count_shown(self, user_id: str, request_id: str, served_time_ms: int, item_ids: Sequence[str]) -> None:
        """Feed one served list to all tables."""
        self.items.add_shown(item_ids, served_time_ms)
        self.users.add_shown(user_id, request_id, served_time_ms, item_ids)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what lists share, for a checkpoint: it is older than the tables it was made of; empty without any."""
        if self._context is None:
            return {}
        return context_arrays(self._context) | {"events_since": np.array([self._events_since])}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned, once the tables are restored; checkpoints of before have nothing of it."""
        self._context, self._open = None, OpenCounts()
        if arrays:
            rows = self._rows(len(arrays["is_listable"]))
            self._context = context_from_arrays(arrays, self.items, self.counts, rows)
            self._events_since = int(arrays["events_since"][0])
