"""The count tables that the trainer owns and publishes with a version: pairs, successors, titles, times of events.

Letters: `N` items, rows as in the tables of embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.co_visitation import CoVisitation
from features.compiled import compiled
from features.config import FeaturesConfig
from features.grown import grown
from features.title_index import MAX_TOKENS, TitleIndex
from features.touched_rows import TouchedRows

PAIR_WINDOW = 20
"""Newest items of a user that an event is paired with."""
BACKWARD_PAIRS = 0.5
"""What a pair counts the other way round: less, for what comes after says more of what comes next."""
HISTORY_WINDOW = 20
"""Newest items of a user that candidates are compared with."""


class Following(NamedTuple):
    """Events by what their users had touched before."""

    previous_rows: NDArray[np.int64]
    """At most `PAIR_WINDOW` of each event, newest first, those of all end to end."""
    ends: NDArray[np.int64]
    """(n,) where those of each event end."""
    rows: NDArray[np.int64]
    """(n,) item of each event."""


@dataclass
class CountTables:
    """Which items go together, which titles share words, and when each item was first and last touched."""

    pairs: CoVisitation
    """Events and any of the user's last `PAIR_WINDOW` items before them, both ways."""
    successors: CoVisitation
    """Events right after the user's last item."""
    titles: TitleIndex
    seen_ms: NDArray[np.int64]
    """(capacity, 2) time of the first and the last event, 0 before any."""
    seen: TouchedRows = field(default_factory=TouchedRows)
    """Rows whose times changed."""

    @classmethod
    def empty(cls, features: FeaturesConfig) -> CountTables:
        """Make tables without items."""
        return cls(
            CoVisitation(features.co_visitation_neighbours),
            CoVisitation(features.successor_neighbours),
            TitleIndex(),
            np.zeros((64, 2), dtype=np.int64),
        )

    def reserve(self, num_items: int) -> None:
        """Give every table `num_items` rows or more."""
        for table in (self.pairs, self.successors, self.titles):
            table.reserve(num_items)
        self.seen.reserve(num_items)
        self.seen_ms = grown(self.seen_ms, num_items)

    def count_event(self, row: int, event_time_ms: int) -> None:
        """Note an event of an item; the order of calls does not matter."""
        self.count_events(np.array([row]), np.array([event_time_ms]))

    def has_event(self, row: int) -> bool:
        """Say whether an item had an event."""
        return row < len(self.seen_ms) and bool(self.seen_ms[row, 1])

    def count_events(self, rows: NDArray[np.int64], times_ms: NDArray[np.int64]) -> None:
        """Note many events, (n,) items and times, as `count_event` of each would."""
        self.reserve(int(rows.max(initial=-1)) + 1)
        _note_times(self.seen_ms, self.seen.marks, rows, times_ms)

    def count_all_following(self, following: Following) -> None:
        """Count many events, none of them negative, in their order, as `count_following` of each would."""
        self.pairs.add_events(following.previous_rows, following.ends, following.rows, BACKWARD_PAIRS)
        has_previous = np.diff(following.ends, prepend=0) > 0
        newest = following.previous_rows[np.append(0, following.ends[:-1])[has_previous]]
        rows = following.rows[has_previous]
        self.successors.add_events(newest, np.arange(1, len(rows) + 1), rows)

    def count_following(self, previous_rows: NDArray[np.int64], row: int) -> None:
        """Count an event, not a negative one, of a user whose items before are `previous_rows`, newest first."""
        self.pairs.add(previous_rows[:PAIR_WINDOW], row, BACKWARD_PAIRS)
        self.successors.add(previous_rows[:1], row)

    def arrays(self, num_items: int) -> dict[str, NDArray[Any]]:
        """Return a copy of all tables, a row for every item of the catalogue."""
        self.reserve(num_items)
        return {name: self.array(name)[:num_items].copy() for name in self.array_names()}

    def take_touched(self) -> dict[str, NDArray[np.int64]]:
        """Return the rows of each array that changed since the last call, ascending."""
        pairs, successors = self.pairs.touched.take(), self.successors.touched.take()
        return {
            **dict.fromkeys(("neighbours", "weights", "totals"), pairs),
            **dict.fromkeys(("successors", "successor_weights", "successor_totals"), successors),
            "title_tokens": self.titles.touched.take(),
            "seen_ms": self.seen.take(),
        }

    def array(self, name: str) -> NDArray[Any]:
        """Return a view of one of `arrays` over all rows that have room."""
        arrays: dict[str, NDArray[Any]] = {
            "neighbours": self.pairs.neighbours,
            "weights": self.pairs.weights,
            "totals": self.pairs.totals,
            "successors": self.successors.neighbours,
            "successor_weights": self.successors.weights,
            "successor_totals": self.successors.totals,
            "title_tokens": self.titles.titles.tokens,
            "seen_ms": self.seen_ms,
        }
        return arrays[name]

    @staticmethod
    def array_names() -> tuple[str, ...]:
        """Return the names of `arrays`."""
        successors = ("successors", "successor_weights", "successor_totals")
        return ("neighbours", "weights", "totals", *successors, "title_tokens", "seen_ms")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], titles: TitleIndex | None = None) -> CountTables:
        """Wrap what `arrays` returned, without a copy.

        Args:
            arrays: by name.
            titles: the index of `title_tokens`, where there is one already.

        Raises:
            ValueError: the shapes do not belong together.
        """
        pairs = CoVisitation.from_arrays(arrays["neighbours"], arrays["weights"], arrays["totals"])
        successors = CoVisitation.from_arrays(
            arrays["successors"], arrays["successor_weights"], arrays["successor_totals"]
        )
        tokens, seen_ms = arrays["title_tokens"], arrays["seen_ms"]
        size = pairs.num_items
        if successors.num_items != size or tokens.shape != (size, MAX_TOKENS) or seen_ms.shape != (size, 2):
            raise ValueError(
                f"count tables of {size} items, {successors.num_items} successors, tokens {tokens.shape} and times "
                f"{seen_ms.shape} do not belong together"
            )
        return cls(pairs, successors, titles or TitleIndex.from_tokens(tokens), seen_ms)


@compiled
def _note_times(
    seen_ms: NDArray[np.int64], marks: NDArray[np.bool_], rows: NDArray[np.int64], times_ms: NDArray[np.int64]
) -> None:
    for event in range(len(rows)):
        row, time_ms = rows[event], times_ms[event]
        first = seen_ms[row, 0]
        seen_ms[row, 0] = min(first, time_ms) if first else time_ms
        seen_ms[row, 1] = max(seen_ms[row, 1], time_ms)
        marks[row] = True
