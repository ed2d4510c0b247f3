"""One user as of now: from a Feast row (server) or from in-process tables (trainer, `evaluate`)."""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.counter_rows import NUMBERS_PER_HALF_LIFE, DecayedTable, decay_rows
from features.declared_features import of_entity, row_width
from features.declared_table import CountableEvent, DeclaredTable


@dataclass(frozen=True)
class UserState:
    """What is known of one user at one moment. `H` half-lives, `L` history length."""

    user_id: str
    counts: NDArray[np.float64]
    """(H, 3) events, positives, negatives decayed to now."""
    category_names: tuple[str, ...]
    """Categories of the items the user touched."""
    category_counts: NDArray[np.float64]
    """(C, 3) of each, longest half-life, decayed to now."""
    history_item_ids: tuple[str, ...]
    """Newest first by (event_time_ms, event_id)."""
    history_outcomes: NDArray[np.int8]
    """(L,)"""
    history_times_ms: NDArray[np.int64]
    """(L,)"""
    consumed: Set[str]
    """Items this user had an event with."""
    shown_item_ids: tuple[str, ...]
    """Items on the user's lists, newest first, an item as often as it was shown."""
    shown_times_ms: NDArray[np.int64]
    """When each of them was shown."""
    declared: NDArray[np.float64]
    """(W,) raw numbers of the declared user features."""
    is_known: bool


def cold_user_state(user_id: str, features: FeaturesConfig) -> UserState:
    """Return the state of a user nothing is known of."""
    return UserState(
        user_id=user_id,
        counts=np.zeros((len(features.half_lives_s), 3)),
        category_names=(),
        category_counts=np.zeros((0, 3)),
        history_item_ids=(),
        history_outcomes=np.zeros(0, dtype=np.int8),
        history_times_ms=np.zeros(0, dtype=np.int64),
        consumed=frozenset(),
        shown_item_ids=(),
        shown_times_ms=np.zeros(0, dtype=np.int64),
        declared=np.zeros(row_width(features.declared, "user")),
        is_known=False,
    )


def user_state_from_row(
    user_id: str, row: Mapping[str, Any], consumed: Set[str], now_ms: int, features: FeaturesConfig
) -> UserState:
    """Build the state from Feast fields (name -> value or None); missing or misshapen fields count as nothing."""
    history = tuple(row.get("user_history_item_ids") or ())[: features.history_length]
    shown = tuple(row.get("user_shown_item_ids") or ())[: features.exposure_length]
    names = tuple(row.get("user_category_names") or ())
    return UserState(
        user_id=user_id,
        counts=_decayed(row.get("user_counters"), features.half_lives_s, 1, now_ms)[0],
        category_names=names,
        category_counts=_decayed(row.get("user_category_counts"), features.half_lives_s[-1:], len(names), now_ms)[:, 0],
        history_item_ids=history,
        history_outcomes=_history_column(row.get("user_history_outcomes"), len(history)).astype(np.int8),
        history_times_ms=_history_column(row.get("user_history_times_ms"), len(history)),
        consumed=consumed,
        shown_item_ids=shown,
        shown_times_ms=_history_column(row.get("user_shown_times_ms"), len(shown)),
        declared=_declared(row, features),
        is_known=bool(history) or bool(consumed),
    )


def _declared(row: Mapping[str, Any], features: FeaturesConfig) -> NDArray[np.float64]:
    """Lay the declared features out end to end, (W,); zeros where one is missing, misshapen or not finite."""
    parts = [np.zeros(0)]
    for name, feature in of_entity(features.declared, "user").items():
        numbers = np.asarray(row.get(name) or (), dtype=np.float64)
        is_sound = len(numbers) == feature.width and np.isfinite(numbers).all()
        parts.append(numbers if is_sound else np.zeros(feature.width))
    return np.concatenate(parts)


def _decayed(flat: Any, half_lives_s: Sequence[float], num_rows: int, now_ms: int) -> NDArray[np.float64]:
    """Decay `num_rows` travelling rows to now, shape (num_rows, H, 3); zeros where the shape is not as declared."""
    values = np.zeros(0) if flat is None else np.frombuffer(array("d", flat))
    if values.size != num_rows * len(half_lives_s) * NUMBERS_PER_HALF_LIFE or not np.isfinite(values).all():
        return np.zeros((num_rows, len(half_lives_s), 3))
    return decay_rows(values.reshape(num_rows, len(half_lives_s), NUMBERS_PER_HALF_LIFE), half_lives_s, now_ms)


def _history_column(values: Any, length: int) -> NDArray[np.int64]:
    given = np.frombuffer(array("q", values or ()), dtype=np.int64)  # From a list, numpy takes three times as long.
    if len(given) == length:
        return given
    column = np.zeros(length, dtype=np.int64)
    column[: len(given)] = given[:length]
    return column


@dataclass
class _User:
    row: int
    history: list[tuple[int, str, str, int]] = field(default_factory=list)
    """(event_time_ms, event_id, item_id, outcome), oldest first."""
    consumed: dict[str, int] = field(default_factory=dict)
    """item_id -> newest event_time_ms."""
    category_rows: dict[str, int] = field(default_factory=dict)
    shown: list[tuple[int, str, int, str]] = field(default_factory=list)
    """(served_time_ms, request_id, -place, item_id), oldest first: read backwards, the top of a list comes first."""


class UserTable:
    """All users of an in-process learner.

    Args:
        features: half-lives, history length and limits.
    """

    def __init__(self, features: FeaturesConfig) -> None:
        self._features = features
        self._users: dict[str, _User] = {}
        self.counters = DecayedTable(features.half_lives_s)
        """A row a user."""
        self.category_counters = DecayedTable(features.half_lives_s[-1:])
        """A row for each user and category."""
        self._declared = DeclaredTable(of_entity(features.declared, "user"))

    def add_event(self, event: CountableEvent, categories: Sequence[str], outcome: int) -> None:
        """Count one event of a user; history and consumed items are sets ordered by time, not by arrival."""
        row, category_rows = self.note_event(event, categories, outcome)
        for table, rows in ((self.counters, [row]), (self.category_counters, category_rows)):
            for counted in rows:
                table.add(counted, event.event_time_ms, outcome)

    def note_event(self, event: CountableEvent, categories: Sequence[str], outcome: int) -> tuple[int, list[int]]:
        """Count one event in all but `counters` and `category_counters`; return its row of the one and of the other."""
        user = self._user(event.user_id)
        event_time_ms, item_id = event.event_time_ms, event.item_id
        self._declared.add_event(user.row, event)
        category_rows = user.category_rows
        for category in categories:
            if category not in category_rows:
                category_rows[category] = self.category_counters.append_row()
        insort(user.history, (event_time_ms, event.event_id, item_id, outcome))
        del user.history[: -self._features.history_length]
        user.consumed[item_id] = max(event_time_ms, user.consumed.get(item_id, 0))
        if len(user.consumed) > self._features.consumed_limit:
            del user.consumed[min(user.consumed, key=user.consumed.__getitem__)]
        return user.row, [category_rows[name] for name in categories]

    def add_shown(self, user_id: str, request_id: str, served_time_ms: int, item_ids: Sequence[str]) -> None:
        """Remember a list that the user was shown, best first."""
        shown = self._user(user_id).shown
        for place, item_id in enumerate(item_ids):
            insort(shown, (served_time_ms, request_id, -place, item_id))
        del shown[: max(0, len(shown) - self._features.exposure_length)]

    def newest_item_ids(self, user_id: str, limit: int) -> list[str]:
        """Return the items of a user's newest `limit` events, newest first; none for an unknown user."""
        user = self._users.get(user_id)
        return [] if user is None else [entry[2] for entry in user.history[: -limit - 1 : -1]]

    def known_since_ms(self, user_id: str) -> int | None:
        """Return the time of the oldest event that is remembered of a user; None for an unknown one."""
        user = self._users.get(user_id)
        return user.history[0][0] if user is not None and user.history else None

    def state(self, user_id: str, now_ms: int) -> UserState:
        """Return a user as of `now_ms`; an unknown one is cold."""
        user = self._users.get(user_id)
        if user is None:
            return cold_user_state(user_id, self._features)
        newest_first = user.history[::-1]
        rows = np.fromiter(user.category_rows.values(), dtype=np.int64, count=len(user.category_rows))
        category_counts = self.category_counters.read(now_ms, rows)[:, 0]  # (C, 3)
        names = tuple(user.category_rows)
        ranked = sorted(zip((-category_counts[:, 0]).tolist(), names, range(len(names)), strict=True))
        kept = [index for _, _, index in ranked[: self._features.categories_per_user]]
        return UserState(
            user_id=user_id,
            counts=self.counters.read(now_ms, np.array([user.row]))[0],
            category_names=tuple(names[index] for index in kept),
            category_counts=category_counts[kept],
            history_item_ids=tuple(entry[2] for entry in newest_first),
            history_outcomes=np.array([entry[3] for entry in newest_first], dtype=np.int8),
            history_times_ms=np.array([entry[0] for entry in newest_first], dtype=np.int64),
            consumed=user.consumed.keys(),
            shown_item_ids=tuple(entry[3] for entry in user.shown[::-1]),
            shown_times_ms=np.array([entry[0] for entry in user.shown[::-1]], dtype=np.int64),
            declared=self._declared.row(user.row).copy(),
            is_known=bool(user.history),
        )

    def forget(self, user_id: str) -> bool:
        """Forget a user, whose events are all counted; False where there is none.

        The row stays, empty, under a name that no user can have.
        """
        user = self._users.get(user_id)
        if user is None:
            return False
        for table, rows in ((self.counters, [user.row]), (self.category_counters, [*user.category_rows.values()])):
            sums, _ = table.sums_and_decay(0)  # A view of all sums.
            sums[rows] = 0.0
        self._declared.clear_row(user.row)
        nobody = {user_id: (f"\x00{user.row}", _User(user.row))}
        self._users = dict(nobody.get(known, (known, one)) for known, one in self._users.items())
        return True

    def _user(self, user_id: str) -> _User:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = _User(self.counters.append_row())
        return user

    def names(self) -> dict[str, list[str]]:
        """Return the strings of the whole table for a checkpoint, users in row order, each user's laid end to end."""
        users = self._users.values()
        return {
            "user_ids": list(self._users),
            "history_event_ids": [entry[1] for user in users for entry in user.history],
            "history_item_ids": [entry[2] for user in users for entry in user.history],
            "consumed_item_ids": [item_id for user in users for item_id in user.consumed],
            "category_names": [name for user in users for name in user.category_rows],
            "shown_request_ids": [entry[1] for user in users for entry in user.shown],
            "shown_item_ids": [entry[3] for user in users for entry in user.shown],
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers that belong to `names`; `*_sizes` say how many entries are each user's."""
        users = list(self._users.values())
        columns = {
            "history_sizes": [len(user.history) for user in users],
            "history_times_ms": [entry[0] for user in users for entry in user.history],
            "history_outcomes": [entry[3] for user in users for entry in user.history],
            "consumed_sizes": [len(user.consumed) for user in users],
            "consumed_times_ms": [time_ms for user in users for time_ms in user.consumed.values()],
            "category_sizes": [len(user.category_rows) for user in users],
            "category_rows": [row for user in users for row in user.category_rows.values()],
            "shown_sizes": [len(user.shown) for user in users],
            "shown_times_ms": [entry[0] for user in users for entry in user.shown],
            "shown_places": [-entry[2] for user in users for entry in user.shown],
        }
        counters = {f"counters.{name}": array for name, array in self.counters.arrays().items()}
        categories = {f"category_counters.{name}": array for name, array in self.category_counters.arrays().items()}
        declared = {f"declared.{name}": array for name, array in self._declared.arrays().items()}
        numbers = {name: np.array(column, dtype=np.int64) for name, column in columns.items()}
        return numbers | counters | categories | declared

    def restore(self, names: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `names` and `arrays` returned."""
        for table, prefix in ((self.counters, "counters."), (self.category_counters, "category_counters.")):
            table.restore({name: arrays[prefix + name] for name in ("sums", "reference_ms")})
        history = zip(
            arrays["history_times_ms"].tolist(),
            names["history_event_ids"],
            names["history_item_ids"],
            arrays["history_outcomes"].tolist(),
            strict=True,
        )
        consumed = zip(names["consumed_item_ids"], arrays["consumed_times_ms"].tolist(), strict=True)
        categories = zip(names["category_names"], arrays["category_rows"].tolist(), strict=True)
        shown = zip(
            arrays["shown_times_ms"].tolist(),
            names["shown_request_ids"],
            (-arrays["shown_places"]).tolist(),
            names["shown_item_ids"],
            strict=True,
        )
        self._declared.restore(
            {name.removeprefix("declared."): a for name, a in arrays.items() if name.startswith("declared.")}
        )
        parts = ("history", "consumed", "category", "shown")
        sizes = zip(*(arrays[f"{part}_sizes"].tolist() for part in parts), strict=True)
        self._users = {
            user_id: _User(
                row,
                list(islice(history, counts[0])),
                dict(islice(consumed, counts[1])),
                dict(islice(categories, counts[2])),
                list(islice(shown, counts[3])),
            )
            for row, (user_id, counts) in enumerate(zip(names["user_ids"], sizes, strict=True))
        }
