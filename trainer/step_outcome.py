"""What became of one step on weights, and the batch of a step that was not taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIP_RELATIVE = 0.5
"""Of a weight's own size, beside the absolute room of `update_clip`: the paper's value."""


@dataclass(frozen=True)
class StepOutcome:
    """Taken, taken with a smaller update, or refused."""

    refusal: str = ""
    """Why the step was not taken; empty where it was."""
    was_clipped: bool = False
    batch: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Of a refused step, all arrays that it was computed from, beside the weights."""

    @property
    def is_taken(self) -> bool:
        """Whether weights changed."""
        return not self.refusal


@dataclass(frozen=True)
class RefusedStep:
    """A step that was not taken, for people who look into it."""

    part: str
    """`ranker`, `tower`, `pre_ranker` or `ratings`."""
    step: int
    reason: str
    batch: Mapping[str, NDArray[Any]]


def clip_factor(weights: NDArray[np.floating[Any]], update: NDArray[np.floating[Any]], absolute: float) -> float:
    """Return by how much an update must shrink so that no weight moves further than it may; 1 where none does.

    `min_i (0.5 |w_i| + absolute) / |u_i|`, at most 1: the whole update keeps its direction. Clippy, Tang et al. 2023,
    "Improving Training Stability for Multitask Ranking Models in Recommender Systems", https://arxiv.org/abs/2302.09178
    """
    room = CLIP_RELATIVE * np.abs(weights) + absolute
    return float(min(1.0, (room / np.maximum(np.abs(update), np.finfo(update.dtype).tiny)).min()))
