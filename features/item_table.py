"""Items in rows: counters, categories and availability, kept in the process that ranks.

The server fills it from `headrace.features.item_*.v1` and `headrace.items.v1`; trainer and `evaluate` count
in-process from samples. Rows are only ever appended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.counter_rows import DecayedTable
from features.declared_features import of_entity
from features.declared_table import CountableEvent, DeclaredTable

MAX_CATEGORIES = 6
"""Categories kept per item; further ones are ignored."""

_NEVER_MS = np.iinfo(np.int64).max


class ItemTable:
    """All items this process knows.

    Args:
        features: half-lives of the counters.
    """

    def __init__(self, features: FeaturesConfig) -> None:
        self.item_ids: list[str] = []
        self.category_names: list[str] = []
        self.counters = DecayedTable(features.half_lives_s)
        self.exposure = DecayedTable(features.half_lives_s)
        """Lists, expected clicks and clicks; rows beyond its own were never shown."""
        self.declared = DeclaredTable(of_entity(features.declared, "item"))
        self.global_declared = DeclaredTable(of_entity(features.declared, "global"))
        """One row, 0."""
        self._row_of: dict[str, int] = {}
        self._category_of: dict[str, int] = {}
        self._names_of: dict[int, tuple[str, ...]] = {}
        """Category names by row, of items that somebody asked about."""
        self._categories = np.full((64, MAX_CATEGORIES), -1, dtype=np.int32)
        self._published_ms = np.zeros(64, dtype=np.int64)
        self._expires_ms = np.full(64, _NEVER_MS, dtype=np.int64)
        self._is_available = np.ones(64, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.item_ids)

    def row_of(self, item_id: str) -> int:
        """Return the row of an item, -1 for an unknown one."""
        return self._row_of.get(item_id, -1)

    def rows_of(self, item_ids: Collection[str]) -> NDArray[np.int64]:
        """Return the rows of items, -1 for unknown ones, shape (len(item_ids),)."""
        return np.fromiter(map(self._row_of.get, item_ids, repeat(-1)), dtype=np.int64, count=len(item_ids))

    def ensure_row(self, item_id: str) -> int:
        """Return the row of an item, appending one where it is new."""
        row = self._row_of.get(item_id)
        if row is None:
            row = self.counters.append_row()
            if row == len(self._published_ms):
                self._grow()
            self._row_of[item_id] = row
            self.item_ids.append(item_id)
        return row

    def ensure_rows(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of items, appending where new, shape (len(item_ids),)."""
        return np.fromiter((self.ensure_row(i) for i in item_ids), dtype=np.int64, count=len(item_ids))

    def rows_of_ids(self, item_ids: Iterable[str]) -> list[int]:
        """Return the rows of a few items, -1 for unknown ones."""
        row_of = self._row_of
        return [row_of.get(item_id, -1) for item_id in item_ids]

    def add_event(self, row: int, event: CountableEvent, outcome: int) -> None:
        """Count one event on an item."""
        self.counters.add(row, event.event_time_ms, outcome)
        self.note_event(row, event)

    def note_event(self, row: int, event: CountableEvent) -> None:
        """Count one event in the declared features; `counters` is left to the caller."""
        self.declared.add_event(row, event)
        self.global_declared.add_event(0, event)

    def add_shown(self, item_ids: Sequence[str], served_time_ms: int) -> None:
        """Count one served list: each of its items had 1 / length of a click to expect."""
        for row in self.ensure_rows(item_ids).tolist():
            self._add_exposure(row, served_time_ms, np.array([1.0, 1.0 / len(item_ids), 0.0]))

    def add_list_click(self, item_id: str, event_time_ms: int) -> None:
        """Count a positive event that answered a list."""
        self._add_exposure(self.ensure_row(item_id), event_time_ms, np.array([0.0, 0.0, 1.0]))

    def set_counters(self, item_id: str, counters: NDArray[np.float64]) -> None:
        """Take over a travelling counter row, shape (H * 7,)."""
        self.counters.set_row(self.ensure_row(item_id), counters)

    def set_exposure(self, item_id: str, exposure: NDArray[np.float64]) -> None:
        """Take over a travelling exposure row, shape (H * 7,)."""
        row = self.ensure_row(item_id)
        self._ensure_exposure(row)
        self.exposure.set_row(row, exposure)

    def set_declared(self, item_id: str, raw: NDArray[np.float64]) -> None:
        """Take over the travelling numbers of the declared item features."""
        self.declared.set_row(self.ensure_row(item_id), raw)

    def set_item(
        self,
        item_id: str,
        categories: Sequence[str],
        is_available: bool = True,
        published_time_ms: int = 0,
        expires_time_ms: int = 0,
    ) -> None:
        """Take over an item record; zero times mean unknown (published) and never (expires)."""
        row = self.ensure_row(item_id)
        codes = [self._category_code(name) for name in categories[:MAX_CATEGORIES]]
        self._categories[row] = -1
        self._categories[row, : len(codes)] = codes
        self._names_of.pop(row, None)
        self._is_available[row] = is_available
        self._published_ms[row] = published_time_ms
        self._expires_ms[row] = expires_time_ms or _NEVER_MS

    def remove_item(self, item_id: str) -> None:
        """Make an item unavailable; its row stays."""
        self._is_available[self.ensure_row(item_id)] = False

    def categories_of(self, item_id: str) -> tuple[str, ...]:
        """Return an item's category names, none for an unknown item."""
        row = self.row_of(item_id)
        return () if row < 0 else self.category_names_of(row)

    def category_names_of(self, row: int) -> tuple[str, ...]:
        """Return the category names of the item of a row."""
        found = self._names_of.get(row)
        if found is None:
            codes = self._categories[row].tolist()
            found = self._names_of[row] = tuple(self.category_names[code] for code in codes if code >= 0)
        return found

    def category_codes(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the codes of category names, -1 for unknown ones, shape (len(names),)."""
        return np.fromiter(map(self._category_of.get, names, repeat(-1)), dtype=np.int64, count=len(names))

    def counts(self, now_ms: int) -> NDArray[np.float64]:
        """Return events, positives and negatives decayed to `now_ms`, shape (N, H, 3)."""
        return self.counters.read(now_ms)

    def exposures(self, now_ms: int) -> NDArray[np.float64]:
        """Return lists, expected clicks and clicks decayed to `now_ms`, shape (N, H, 3)."""
        missing = len(self) - self.exposure.num_rows
        if missing == len(self):  # Nothing was ever shown: no array of zeros for each request.
            return np.broadcast_to(0.0, (len(self), len(self.exposure.half_lives_ms), 3))
        return np.pad(self.exposure.read(now_ms), ((0, missing), (0, 0), (0, 0)))

    def available(self, now_ms: int) -> NDArray[np.bool_]:
        """Say which items may be shown at `now_ms`, shape (N,)."""
        return self._is_available[: len(self)] & (self._expires_ms[: len(self)] > now_ms)

    def is_available(self, row: int, now_ms: int) -> bool:
        """Say whether one item may be shown at `now_ms`."""
        return bool(self._is_available[row] and self._expires_ms[row] > now_ms)

    @property
    def categories(self) -> NDArray[np.int32]:
        """Category codes, shape (N, MAX_CATEGORIES), -1 where there is none."""
        return self._categories[: len(self)]

    @property
    def published_time_ms(self) -> NDArray[np.int64]:
        """Publication times, shape (N,), 0 where unknown."""
        return self._published_ms[: len(self)]

    @property
    def expires_time_ms(self) -> NDArray[np.int64]:
        """Expiry times, shape (N,), 0 where never."""
        expires = self._expires_ms[: len(self)]
        return np.where(expires == _NEVER_MS, 0, expires)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers of the whole table for a checkpoint; ids and category names come beside them."""
        size = len(self)
        columns: dict[str, NDArray[Any]] = {
            "categories": self._categories[:size].copy(),
            "published_ms": self._published_ms[:size].copy(),
            "expires_ms": self._expires_ms[:size].copy(),
            "is_available": self._is_available[:size].copy(),
        }
        beside = {f"{p}.{name}": array for p, table in self._parts().items() for name, array in table.arrays().items()}
        return columns | self.counters.arrays() | beside

    def restore(
        self, item_ids: Sequence[str], category_names: Sequence[str], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        """Take over ids, names and what `arrays` returned."""
        self.item_ids, self.category_names = [], []
        self._row_of, self._category_of, self._names_of = {}, {}, {}
        self.counters.restore({"sums": arrays["sums"][:0], "reference_ms": arrays["reference_ms"]})
        self.ensure_rows(item_ids)
        for name in category_names:
            self._category_code(name)
        size = len(item_ids)
        self._categories[:size] = arrays["categories"]
        self._published_ms[:size] = arrays["published_ms"]
        self._expires_ms[:size] = arrays["expires_ms"]
        self._is_available[:size] = arrays["is_available"]
        self.counters.restore(arrays)
        for part, table in self._parts().items():
            start = f"{part}."
            table.restore({name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)})

    def _parts(self) -> dict[str, DecayedTable | DeclaredTable]:
        return {"exposure": self.exposure, "declared": self.declared, "global_declared": self.global_declared}

    def _add_exposure(self, row: int, time_ms: int, amounts: NDArray[np.float64]) -> None:
        self._ensure_exposure(row)
        self.exposure.add_amounts(row, time_ms, amounts)

    def _ensure_exposure(self, row: int) -> None:
        while self.exposure.num_rows <= row:
            self.exposure.append_row()

    def _category_code(self, name: str) -> int:
        code = self._category_of.setdefault(name, len(self._category_of))
        if code == len(self.category_names):
            self.category_names.append(name)
        return code

    def _grow(self) -> None:
        """Double the capacity of every column."""
        size = len(self._published_ms)
        self._categories = np.concatenate([self._categories, np.full((size, MAX_CATEGORIES), -1, dtype=np.int32)])
        self._published_ms = np.concatenate([self._published_ms, np.zeros(size, dtype=np.int64)])
        self._expires_ms = np.concatenate([self._expires_ms, np.full(size, _NEVER_MS, dtype=np.int64)])
        self._is_available = np.concatenate([self._is_available, np.ones(size, dtype=np.bool_)])
