"""The two simple methods that the loop is measured against, over the same events in the same order.

Decayed popularity sees the planned order only, so all its hits are known before the first event is sent. Counters
only is the pre-ranker before it learnt over in-process tables, fed with what was really sent (visitors too).
Letters: `N` items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compose.demo.data import SourceItem
from compose.demo.options import LIST_SIZE
from compose.demo.pacing import PlannedEvent, Turn
from features.config import POSITIVE, FeaturesConfig
from trainer.list_builder import ListBuilder
from trainer.samples import Event

POPULARITY_HALF_LIFE_EVENTS = 500.0
_REBASE_AT = 512.0
"""Weights grow as 2^(events / half-life); they are scaled back before 2^1023 is near."""


class DecayedPopularity:
    """Positives per item, halved every 500 positives; ranks every item with an event, less the user's own.

    Ageing by positives is the stronger reading of "half-life 500 events": HR@10 .086 on ML-100k in plain time order,
    against .077 where every event ages.

    Args:
        num_items: rows that will be used.
        half_life_events: positives after which a positive counts half.
    """

    def __init__(self, num_items: int, half_life_events: float = POPULARITY_HALF_LIFE_EVENTS) -> None:
        self._scores = np.full(num_items, -1.0)  # -1: no event yet, no candidate
        self._half_life_events = half_life_events
        self._age = 0.0

    def has_in_top(self, row: int, consumed_rows: Sequence[int], size: int) -> bool:
        """Say whether `row` is among the best `size` candidates; ties go to the lower row."""
        own = self._scores[row]
        if own < 0.0:
            return False
        ahead = int(np.count_nonzero(self._scores > own)) + int(np.count_nonzero(self._scores[:row] == own))
        if ahead < size:
            return True
        taken = np.asarray(consumed_rows, dtype=np.int64)
        scores = self._scores[taken]
        return ahead - int(np.count_nonzero((scores > own) | ((scores == own) & (taken < row)))) < size

    def add_event(self, row: int, outcome: int) -> None:
        """Count one event; any makes the item known, only positives weigh and age the others."""
        self._scores[row] = max(self._scores[row], 0.0)
        if outcome != POSITIVE:
            return
        self._age += 1.0 / self._half_life_events
        if self._age > _REBASE_AT:
            self._scores = np.where(self._scores > 0.0, self._scores * 2.0**-self._age, self._scores)
            self._age = 0.0
        self._scores[row] += 2.0**self._age


def popularity_hits(plan: Sequence[PlannedEvent]) -> NDArray[np.bool_]:
    """Score decayed popularity at every `SCORED` turn of the plan, shape (len(plan),); False elsewhere."""
    rows: dict[str, int] = {}
    for planned in plan:
        rows.setdefault(planned.event.item_id, len(rows))
    popularity = DecayedPopularity(len(rows))
    consumed: dict[str, list[int]] = {}
    hits = np.zeros(len(plan), dtype=np.bool_)
    for planned in plan:
        row, own = rows[planned.event.item_id], consumed.setdefault(planned.event.user_id, [])
        if planned.turn is Turn.SCORED:
            hits[planned.index] = popularity.has_in_top(row, own, LIST_SIZE)
        popularity.add_event(row, planned.outcome)
        if row not in own:
            own.append(row)
    return hits


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One event as it was really sent, in sending order."""

    user_id: str
    item_id: str
    event_id: str
    event_time_ms: int
    outcome: int
    scored_index: int = -1
    """Index in the plan where it was scored, else -1."""


def counters_hits(
    sent: Iterable[SentEvent],
    items: Mapping[str, SourceItem],
    num_planned: int,
    features: FeaturesConfig,
) -> NDArray[np.bool_]:
    """Replay what was sent through the in-process tables and rank by the hand-weighted score, shape (num_planned,)."""
    method = CountersOnly(items, features)
    hits = np.zeros(num_planned, dtype=np.bool_)
    for event in sent:
        if event.scored_index >= 0:
            hits[event.scored_index] = event.item_id in method.top_items(event.user_id, event.event_time_ms, LIST_SIZE)
        method.add_event(event)
    return hits


class CountersOnly:
    """Live counters and co-visitation under the pre-ranker's first weights: the loop without anything learnt.

    Args:
        items: the catalogue: titles and categories.
        features: half-lives and limits.
    """

    def __init__(self, items: Mapping[str, SourceItem], features: FeaturesConfig) -> None:
        self._builder = ListBuilder(features)
        for item in items.values():
            self._builder.set_item(item.item_id, item.title, item.categories)

    def top_items(self, user_id: str, now_ms: int, size: int) -> list[str]:
        """Return the best `size` items for a user, best first."""
        self._builder.begin_batch()
        found = self._builder.build(self._builder.moment(user_id, now_ms), None, now_ms)
        best = found.rows[np.argsort(-found.pre_ranker_scores, kind="stable")[:size]]
        return [self._builder.items.item_ids[row] for row in best]

    def add_event(self, event: SentEvent) -> None:
        """Count one event everywhere."""
        self._builder.count_event(
            Event(event.event_id, event.user_id, event.item_id, "", event.outcome, event.event_time_ms)
        )
