"""Learns what users say of what they know: the chance that an event with a value, such as a rating, is a good one.

One `RatingModel` for each action with `positive_when` in `headrace.yaml`.
Letters: `M` categories of an item.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.config import AppConfig
from trainer.named_arrays import with_prefix
from trainer.rating_model import LearntRatings, RatingModel
from trainer.samples import Event


class RatingLearner:
    """Everything that is learnt from values, by action.

    Args:
        app: its actions say which values are good.
        seed: of weights, vectors and replay.
        update_clip: see `trainer.step_outcome.clip_factor`; 0 is off.
    """

    def __init__(self, app: AppConfig, seed: int, update_clip: float = 0.0) -> None:
        self._app = app
        carrying = (name for name, action in app.actions.items() if action.positive_when is not None)
        self.actions = {name: RatingModel(seed, name, update_clip) for name in sorted(carrying)}

    def label_of(self, event: Event) -> float | None:
        """Return the label an event brings along, None where it carries none."""
        return self._app.actions[event.action].carried_label(event.value) if event.action in self.actions else None

    def predict(self, event: Event, item_row: int, categories: NDArray[np.integer[Any]]) -> float:
        """Return the chance that an event will be a good one; nothing is counted or learnt.

        Args:
            event: what is known of it but for its value.
            item_row: catalogue row, -1 for an unknown item.
            categories: (M,) category rows, -1 behind the last.
        """
        model = self.actions[event.action]
        inputs = model.inputs(event.user_id, item_row, categories, event.event_time_ms)
        return float(model.chances(inputs[None])[0])

    def add(
        self, event: Event, item_row: int, categories: NDArray[np.integer[Any]], is_held: bool, is_scored: bool
    ) -> None:
        """Take the inputs of an event for this batch, then count it; an event without a label is passed over.

        Args:
            event: before anything else counts it.
            item_row: catalogue row.
            categories: (M,) category rows, -1 behind the last.
            is_held: it counts and teaches no weights.
            is_scored: whether its prediction is measured.
        """
        label = self.label_of(event)
        if label is not None:
            self.actions[event.action].add(event, label, item_row, categories, is_held, is_scored)

    def learn_batch(self, step: int, rate_factor: float) -> list[LearntRatings]:
        """Predict what was added since the last call, then take a step on it; one entry an action that had events."""
        return [model.learn_batch(step, rate_factor) for model in self.actions.values() if model.has_batch]

    def forget_user(self, user_id: str) -> None:
        """Forget what a user's values said of that user."""
        for model in self.actions.values():
            model.forget_user(user_id)

    def names(self) -> dict[str, list[str]]:
        """Return user ids in row order for a checkpoint."""
        return {f"{action}/user_ids": list(model.user_rows) for action, model in self.actions.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything else for a checkpoint, at a batch boundary."""
        return {
            f"{action}/{name}": array
            for action, model in self.actions.items()
            for name, array in model.arrays().items()
        }

    def restore(self, names: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `names` and `arrays` returned; an action that is new starts afresh."""
        for action, model in self.actions.items():
            if f"{action}/user_ids" in names:
                model.restore(names[f"{action}/user_ids"], with_prefix(arrays, f"{action}/"))
