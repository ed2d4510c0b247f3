"""A version that stays as it is, in memory of its own beside the live one: no delta is ever written into it."""

from __future__ import annotations

from serving.model_buffer import ModelLease
from serving.model_builder import Built
from serving.serving_model import ServingModel


class FixedVersion:
    """What an arm stays at.

    Args:
        model: the version; its memory goes with the last request that holds it.
        built: what it is a view of; once it goes live, deltas wait for those who read it here.
    """

    def __init__(self, model: ServingModel, built: Built) -> None:
        self.model = model
        self.built = built

    def take(self) -> ModelLease:
        """Return the model for one request, to be held with `with`."""
        return ModelLease(self.model, self.built.buffer.readers)
