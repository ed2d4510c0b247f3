"""One user's feature values as the server reads them, and how they changed while somebody looked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from features.config import AppConfig, FeaturesConfig
from features.declared_features import of_entity
from features.declared_values import current_sums
from features.user_state import UserState, user_state_from_row
from serving.feature_client import UserRows

_USERS = 100
_CHANGES = 40
_SHOWN = 25
_KINDS = ("events", "positives", "negatives")
_OUTCOMES = {1: "positive", 0: "neutral", -1: "negative"}


@dataclass
class _Page:
    newest: tuple[Any, ...] = ()
    """What the last look saw of the user, to tell whether the next one sees something else."""
    history: tuple[str, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)


class UserBook:
    """Looks users up and remembers what changed.

    Args:
        rows: the online store.
        app: half-lives and declared features.
        title_of: tells the title of an item.
    """

    def __init__(self, rows: UserRows, app: AppConfig, title_of: Callable[[str], str]) -> None:
        self._rows = rows
        self._app = app
        self._title_of = title_of
        self._pages: OrderedDict[str, _Page] = OrderedDict()

    async def look(self, user_id: str, now_ms: int) -> dict[str, Any]:
        """Return a user as of now, and the changes since he was first looked at, newest first.

        Raises:
            OSError: the store does not answer.
        """
        row, consumed = await self._rows.read(user_id)
        state = user_state_from_row(user_id, row, consumed, now_ms, self._app.features)
        counts = _counts(state, self._app.features)
        page = self._page(user_id)
        seen = (
            state.history_item_ids,
            tuple(state.history_times_ms.tolist()),
            len(consumed),
            len(state.shown_item_ids),
        )
        if page.newest and seen != page.newest:
            page.changes.insert(0, self._change(page, state, counts, now_ms))
            del page.changes[_CHANGES:]
        page.newest, page.history, page.counts = seen, state.history_item_ids, counts
        return {
            "user_id": user_id,
            "is_known": state.is_known,
            "counts": counts,
            "history": self._history(state),
            "history_length": len(state.history_item_ids),
            "categories": _categories(state),
            "consumed": len(consumed),
            "shown": len(state.shown_item_ids),
            "declared": _declared(row, self._app.features, now_ms),
            "changes": page.changes,
        }

    async def history_length(self, user_id: str) -> int:
        """Return how many events are remembered of a user, as many as are kept at most.

        Raises:
            OSError: the store does not answer.
        """
        row, _ = await self._rows.read(user_id)
        return len(row.get("user_history_item_ids") or ())

    def _page(self, user_id: str) -> _Page:
        page = self._pages.setdefault(user_id, _Page())
        self._pages.move_to_end(user_id)
        if len(self._pages) > _USERS:
            self._pages.popitem(last=False)
        return page

    def _change(self, page: _Page, state: UserState, counts: Mapping[str, float], now_ms: int) -> dict[str, Any]:
        new = len(state.history_item_ids) - len(page.history)
        added = [item_id for item_id in state.history_item_ids[:_SHOWN] if item_id not in page.history]
        moved = {
            name: (round(page.counts.get(name, 0.0), 3), round(value, 3))
            for name, value in counts.items()
            if value - page.counts.get(name, 0.0) > 0.01
        }
        items = [{"item_id": item_id, "title": self._title_of(item_id)} for item_id in added]
        return {"time_ms": now_ms, "items": items, "new_events": max(new, len(added)), "counts": moved}

    def _history(self, state: UserState) -> list[dict[str, Any]]:
        entries = zip(
            state.history_item_ids, state.history_times_ms.tolist(), state.history_outcomes.tolist(), strict=True
        )
        return [
            {
                "item_id": item_id,
                "title": self._title_of(item_id),
                "time_ms": time_ms,
                "outcome": _OUTCOMES.get(outcome, ""),
            }
            for item_id, time_ms, outcome in list(entries)[:_SHOWN]
        ]


def span(half_life_s: float) -> str:
    """Return a half-life as people write it: `10 min`, `7 d`."""
    for name, seconds in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if half_life_s >= seconds:
            return f"{half_life_s / seconds:g} {name}"
    return f"{half_life_s:g} s"


def _counts(state: UserState, features: FeaturesConfig) -> dict[str, float]:
    """Name the decayed counters: `events, half-life 1 h` -> how many."""
    return {
        f"{kind}, half-life {span(half_life_s)}": round(float(state.counts[place, column]), 4)
        for place, half_life_s in enumerate(features.half_lives_s)
        for column, kind in enumerate(_KINDS)
    }


def _categories(state: UserState) -> list[dict[str, Any]]:
    order = np.argsort(-state.category_counts[:, 0], kind="stable")[:10].tolist()
    return [
        {
            "name": state.category_names[place],
            **dict(zip(_KINDS, state.category_counts[place].round(3).tolist(), strict=True)),
        }
        for place in order
    ]


def _declared(row: Mapping[str, Any], features: FeaturesConfig, now_ms: int) -> dict[str, list[float]]:
    """Return declared features of the user as of now; one that is missing or misshapen is left out."""
    values = {}
    for name, feature in of_entity(features.declared, "user").items():
        raw = np.asarray(row.get(name) or (), dtype=np.float64)
        if len(raw) == feature.width and np.isfinite(raw).all():
            numbers = current_sums(feature, raw[None, :], now_ms) if feature.aggregation in _SPANNED else raw
            values[name] = np.asarray(numbers).ravel().round(4).tolist()
    return values


_SPANNED = ("count", "sum", "mean", "ratio")
