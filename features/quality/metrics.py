"""What of a profile is judged: named figures, each a share, a distance or a rate, in one fixed order.

Letters: `M` metrics, `W` windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.quality.profile import Profile

UP, BOTH = 1, 0


@dataclass(frozen=True)
class Metric:
    """One figure of a profile."""

    name: str
    """The rule's name, with the action behind a colon where there is one for each."""
    rule: str
    kind: Literal["share", "distance", "rate"]
    direction: int = UP
    """Suspicious when higher (`UP`), or when higher or lower (`BOTH`)."""


_SIMPLE = (
    Metric("duplicates", "duplicates", "share"),
    Metric("unusable", "unusable", "share"),
    Metric("dead_letters", "dead_letters", "share"),
    Metric("label_rate", "label_rate", "share", BOTH),
    Metric("top_user", "top_user", "share"),
    Metric("top_users", "top_users", "share"),
    Metric("top_item", "top_item", "share"),
    Metric("new_users", "new_users", "share"),
    Metric("new_items", "new_items", "share"),
    Metric("requests", "requests", "share", BOTH),
    Metric("late", "late", "share"),
    Metric("ahead", "ahead", "share"),
    Metric("rate", "rate", "rate"),
    Metric("action_mix", "action_mix", "distance"),
    Metric("item_distance", "item_distance", "distance"),
)
_MIN_USERS = 40
"""Of fewer users the ten most active say nothing."""
_MEMORY_OF = {"duplicates": "events", "new_users": "users", "new_items": "items"}


def metrics_of(actions: Sequence[str]) -> tuple[Metric, ...]:
    """Return all metrics of an app with these actions."""
    by_action = [
        metric
        for action in actions
        for metric in (
            Metric(f"action_share:{action}", "action_share", "share", BOTH),
            Metric(f"missing_values:{action}", "missing_values", "share", BOTH),
            Metric(f"value_distance:{action}", "value_distance", "distance"),
        )
    ]
    return (*_SIMPLE, *by_action)


class MetricTable:
    """Lays profiles out as rows of numbers.

    Args:
        actions: declared actions.
    """

    def __init__(self, actions: Sequence[str]) -> None:
        self.metrics = metrics_of(actions)
        self.is_share = np.array([metric.kind == "share" for metric in self.metrics])
        self.is_rate = np.array([metric.kind == "rate" for metric in self.metrics])
        self.is_both = np.array([metric.direction == BOTH for metric in self.metrics])
        self.memory_columns = {
            column: _MEMORY_OF[metric.name] for column, metric in enumerate(self.metrics) if metric.name in _MEMORY_OF
        }
        self.top_columns = [column for column, metric in enumerate(self.metrics) if metric.name.startswith("top_")]
        self._actions = tuple(actions)

    def row(self, profile: Profile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values and weights, both (M,).

        Of a share they are numerator and denominator, else the figure and the number of events behind it. A weight of
        zero says that there is nothing to tell.
        """
        p, events = profile, profile.events
        letters = sum(p.dead_letters.values())
        pairs = [
            (p.duplicates, events),
            (sum(p.unusable.values()), p.records),
            (min(letters, p.records), p.records),
            (p.positives, events),
            (p.top_user_events, events),
            (p.top_users_events, events if p.users >= _MIN_USERS else 0),
            (p.top_item_events, events),
            (p.new_users, p.users),
            (p.new_items, p.items),
            (p.requests, events),
            (p.late, events),
            (p.ahead, events),
            (math.log2(max(p.records, 1) / p.window_ms * 1000), p.records),
            (p.distances.get("action_mix", 0.0), events),
            (p.distances.get("item_distance", 0.0), events),
        ]
        for action in self._actions:
            count, valued = p.actions.get(action, 0), p.valued.get(action, 0)
            pairs += [(count, events), (valued, count), (p.distances.get(f"value_distance:{action}", 0.0), valued)]
        row = np.array(pairs, dtype=np.float64)
        return row[:, 0], row[:, 1]

    def figures(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what windows are compared by, (M,): stabilised shares, other figures as they are, NaN for none."""
        own = np.where(self.is_share, stabilised(values / np.maximum(weights, 1)), values)
        return np.where(weights > 0, own, np.nan)


def stabilised(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2 asin(sqrt(share)): its variance is 1/n whatever the share."""
    turned: NDArray[np.float64] = 2 * np.arcsin(np.sqrt(np.clip(shares, 0, 1)))
    return turned
