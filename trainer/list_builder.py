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

from features.candidates import CandidateList, Catalog, build_list
from features.co_visitation import WINDOWS, CoVisitation
from features.config import POSITIVE, FeaturesConfig
from features.declared_table import CountedEvent
from features.item_table import ItemTable
from features.user_state import UserState, UserTable
from trainer.samples import Event

CATALOG_MS = 50
"""Lists this close in event time share item counters, as the server's requests do: decaying every item anew for each
list cost a third of its time."""


@dataclass(frozen=True)
class UserMoment:
    """A user just before an event."""

    state: UserState
    history_rows: NDArray[np.int64]
    """(L,) newest first."""


class ListBuilder:
    """Live tables fed by events in sample order, and candidate lists as of any moment of them.

    Args:
        features: half-lives, history length and limits.
        only_seen: list only items that had an event, as `evaluate` must.
    """

    def __init__(self, features: FeaturesConfig, only_seen: bool = False) -> None:
        self._features = features
        self._only_seen = only_seen
        self.items = ItemTable(features)
        self.users = UserTable(features)
        self.co_visitation = CoVisitation(features.co_visitation_neighbours)
        self._catalog: Catalog | None = None

    def begin_batch(self) -> None:
        """Share item counters within a micro-batch only: a checkpoint between two must not change what is learnt."""
        self._catalog = None

    def moment(self, user_id: str, now_ms: int) -> UserMoment:
        """Return a user as of `now_ms`, before anything that is not counted yet."""
        state = self.users.state(user_id, now_ms)
        return UserMoment(state, self.items.rows_of(state.history_item_ids))

    def moment_before(self, event: Event) -> UserMoment:
        """Return a user with the history before an event that is counted already."""
        state = self.users.state(event.user_id, event.event_time_ms)
        is_before = state.history_times_ms < event.event_time_ms
        state = replace(
            state,
            history_item_ids=tuple(compress(state.history_item_ids, is_before)),
            history_outcomes=state.history_outcomes[is_before],
            history_times_ms=state.history_times_ms[is_before],
        )
        return UserMoment(state, self.items.rows_of(state.history_item_ids))

    def build(self, moment: UserMoment, tower_scores: NDArray[np.float32], now_ms: int) -> CandidateList:
        """Build the list this user would have been ranked on; `tower_scores` (N,)."""
        catalog = self._catalog_at(now_ms)
        excluded = catalog.excluded.copy()
        if self._only_seen:
            excluded |= catalog.counts[:, -1, 0] == 0.0
        consumed = self.items.rows_of(list(moment.state.consumed))
        excluded[consumed[consumed >= 0]] = True
        return build_list(
            moment.state,
            moment.history_rows,
            self.items.rows_of(moment.state.shown_item_ids),
            catalog,
            excluded,
            self.co_visitation,
            tower_scores,
            self._features,
        )

    def _catalog_at(self, now_ms: int) -> Catalog:
        """Return the items as of now, or of a moment less than `CATALOG_MS` ago: the server shares them alike."""
        last = self._catalog
        if last is None or len(last.counts) != len(self.items) or not 0 <= now_ms - last.now_ms < CATALOG_MS:
            last = self._catalog = Catalog.of_table(self.items, now_ms)
        return last

    def count_event(self, event: Event) -> None:
        """Feed one event to all tables; call it only after everything that predicts this event is computed."""
        row = self.items.ensure_row(event.item_id)
        if event.outcome == POSITIVE:
            previous = self.users.newest_item_ids(event.user_id, WINDOWS[-1])
            self.co_visitation.add(self.items.rows_of(previous), row)
        counted = CountedEvent(
            event.event_id, event.user_id, event.item_id, event.action, event.value, event.event_time_ms
        )
        self.items.add_event(row, counted, event.outcome)
        self.users.add_event(counted, self.items.categories_of(event.item_id), event.outcome)
        if event.is_answer and event.outcome == POSITIVE:
            self.items.add_list_click(event.item_id, event.event_time_ms)

    def count_shown(self, user_id: str, request_id: str, served_time_ms: int, item_ids: Sequence[str]) -> None:
        """Feed one served list to all tables."""
        self.items.add_shown(item_ids, served_time_ms)
        self.users.add_shown(user_id, request_id, served_time_ms, item_ids)

    def co_visitation_arrays(self) -> dict[str, NDArray[Any]]:
        """Return neighbours (N, K), weights (N, K) and totals (N,), a row for every item of the catalogue."""
        table, size = self.co_visitation, len(self.items)
        missing = size - len(table.totals)
        return {
            "neighbours": np.pad(table.neighbours, ((0, missing), (0, 0)), constant_values=-1),
            "weights": np.pad(table.weights, ((0, missing), (0, 0))),
            "totals": np.pad(table.totals, (0, missing)),
        }

    def restore_co_visitation(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `co_visitation_arrays` returned."""
        self.co_visitation = CoVisitation.from_arrays(
            arrays["neighbours"].copy(), arrays["weights"].copy(), arrays["totals"].copy()
        )
