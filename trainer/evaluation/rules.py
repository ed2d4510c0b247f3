"""Who is scored and on what: the rules of docs/evaluate.md for methods that do not bring their own tables."""

from __future__ import annotations

from typing import Literal

from features.label_config import Labels
from trainer.samples import Event

Verdict = Literal["scored", "cold", "not_scored"]


class Rules:
    """What was seen so far of every user.

    Args:
        labels: what makes an event positive.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._positive: dict[tuple[str, float | None, int], bool] = {}
        self.consumed: dict[str, dict[str, None]] = {}
        """User id -> ids of the items of earlier events, in order."""
        self.skipped_cold = 0

    def is_positive(self, event: Event) -> bool:
        """Say whether an event teaches that its item was wanted."""
        key = (event.action, event.value, event.outcome)
        if key not in self._positive:
            self._positive[key] = 1.0 in self._labels.labels_of(*key).values()
        return self._positive[key]

    def judge(self, event: Event) -> Verdict:
        """Say whether an organic event is scored; call it before `add`. Cold users are counted."""
        if not self.is_positive(event):
            return "not_scored"
        consumed = self.consumed.get(event.user_id)
        if not consumed:
            self.skipped_cold += 1
            return "cold"
        return "not_scored" if event.item_id in consumed else "scored"

    def add(self, event: Event) -> None:
        """Remember an event."""
        self.consumed.setdefault(event.user_id, {})[event.item_id] = None
