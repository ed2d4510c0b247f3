"""Which heads a model has, and what a label says to each.

A head is one thing that a user may do (click, purchase, dismiss). Its target is 1 when that happened: for a head that
has evidence against an item only, such as `dismiss`, a label of value 0 is its target 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from features.label_config import Labels


class HeadTargets:
    """The heads of an app in the order of the model's outputs.

    Args:
        labels: the app's labels.
    """

    def __init__(self, labels: Labels) -> None:
        self.names: tuple[str, ...] = tuple(sorted({rule.head for rule in labels.rules}))
        self._column_of = {name: column for column, name in enumerate(self.names)}
        self._has_positive = {rule.head for rule in labels.rules if rule.value}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def first_scales(self) -> tuple[float, ...]:
        """What the ranker's score counts for in each head at first: 1 for what speaks for an item, else 0."""
        return tuple(float(name in self._has_positive) for name in self.names)

    def target(self, head: str, value: int) -> tuple[int, int] | None:
        """Return (column, 1 or 0) of a label; None for a head that is not declared (any more)."""
        column = self._column_of.get(head)
        if column is None:
            return None
        return column, value if head in self._has_positive else 1 - value

    def happened(self, known: Mapping[str, int]) -> list[int]:
        """Return the columns of the heads that happened, of head -> value as a sample says it."""
        found = (self.target(head, value) for head, value in known.items())
        return sorted(column for column, target in filter(None, found) if target)

    def value_of(self, column: int) -> int:
        """Return the value of a label that says that a head happened."""
        return int(self.names[column] in self._has_positive)

    def row(self, known: Mapping[str, int]) -> NDArray[np.int8]:
        """Return which heads happened, (K,) 1 or 0."""
        row = np.zeros(len(self), dtype=np.int8)
        row[self.happened(known)] = 1
        return row
