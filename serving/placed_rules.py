"""Rules as arrays over a model's items, so that a request pays one lookup for them.

Letters: `N` items of the version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.item_table import ItemTable
from serving.rules import RuleConfig, RulesConfig
from serving.serving_model import ServingModel


@dataclass(frozen=True)
class SurfaceRules:
    """What holds on one surface; None where no rule says anything."""

    added: NDArray[np.float32] | None
    """(N,) what is added to scores."""
    is_shown: NDArray[np.bool_] | None
    """(N,) False for blocked items."""
    pins: tuple[tuple[int, int], ...]
    """(place, row) by place."""
    caps: tuple[tuple[NDArray[np.bool_], int], ...]
    """((N,) which items, the most of them on a list)."""


class PlacedRules:
    """The rules of every surface over the items of one model.

    Args:
        rules: as configured.
        model: its items.
        items: their categories.
    """

    def __init__(self, rules: RulesConfig, model: ServingModel, items: ItemTable) -> None:
        self._rules = rules
        self._model = model
        self._items = items
        self._by_surface: dict[str, SurfaceRules] = {}
        pinned = [rule.items[0] for rule in rules.rules.values() if rule.pin is not None]
        self.pinned_rows = np.unique(model.known_rows(pinned))
        """Rows that a rule pins on some surface."""

    def of(self, surface: str) -> SurfaceRules:
        """Return the rules of a surface; placed when it is first asked for."""
        placed = self._by_surface.get(surface)
        if placed is None:
            placed = self._by_surface[surface] = self._placed(self._rules.of(surface))
        return placed

    def _placed(self, rules: list[RuleConfig]) -> SurfaceRules:
        size = self._model.num_items
        added, is_shown = np.zeros(size, dtype=np.float32), np.ones(size, dtype=np.bool_)
        pins: dict[int, int] = {}
        caps = []
        for rule in rules:
            is_meant = self._is_meant(rule)
            if rule.block:
                is_shown &= ~is_meant
            elif rule.cap is not None:
                caps.append((is_meant, rule.cap))
            elif rule.pin is not None:
                pins.update((rule.pin, row) for row in np.flatnonzero(is_meant).tolist())
            else:
                added[is_meant] += (rule.boost or 0.0) - (rule.bury or 0.0)
        return SurfaceRules(
            added if added.any() else None,
            None if is_shown.all() else is_shown,
            tuple(sorted(pins.items())),
            tuple(caps),
        )

    def _is_meant(self, rule: RuleConfig) -> NDArray[np.bool_]:
        """Say which items a rule is about, (N,)."""
        is_meant = np.zeros(self._model.num_items, dtype=np.bool_)
        is_meant[self._model.known_rows(rule.items)] = True
        codes = self._items.category_codes(rule.categories)
        if (codes >= 0).any():
            is_meant |= np.isin(self._items.categories, codes[codes >= 0]).any(axis=1)[self._model.table_rows]
        return is_meant
