"""Slices: named parts of the traffic whose metrics are also told apart, declared in `headrace.yaml` and few.

A metric of a slice is called `NAME[SLICE]`, for example `hr@10[user=new]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.config import SlicesConfig
from trainer.samples import Sample

NEW_USER_EVENTS = 5
"""A user with fewer earlier events is new."""


class Slices:
    """Says to which slices a sample belongs.

    Args:
        config: what is declared.
    """

    def __init__(self, config: SlicesConfig) -> None:
        self._config = config

    def of(self, sample: Sample, earlier_events: int) -> tuple[str, ...]:
        """Return the slices of a sample; of its user's earlier events `NEW_USER_EVENTS` need to be counted."""
        found = []
        if self._config.user:
            found.append("user=new" if earlier_events < NEW_USER_EVENTS else "user=known")
        if sample.action in self._config.actions:
            found.append(f"action={sample.action}")
        context = sample.context or {}
        found += [f"{key}={context[key]}" for key, values in self._config.context.items() if context.get(key) in values]
        return tuple(found)


def slice_masks(slices_of: Sequence[tuple[str, ...]]) -> dict[str, NDArray[np.bool_]]:
    """Return for each slice which of the judged things belong to it, (n,)."""
    names = sorted({name for slices in slices_of for name in slices})
    return {name: np.array([name in slices for slices in slices_of]) for name in names}
