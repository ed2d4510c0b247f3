"""What a step on the weights depends on beside its batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowLimits:
    """What bounds a table of rows; the fields of `trainer.config.UserRowsConfig` say more."""

    max_rows: int = 1_000_000
    admit_after: int = 1
    expire_after_ms: int = 0
    """0: never."""


@dataclass(frozen=True)
class StepConfig:
    """Rates and sizes of the weights' learner; the fields of `trainer.config.LearnerConfig` say what they mean.

    A plain dataclass, so that `trainer.learner` needs nothing but torch and numpy.
    """

    embedding_dim: int = 32
    embedding_learning_rate: float = 0.2
    embedding_scale: float = 0.1
    learning_rate: float = 2e-3
    softmax_weight: float = 0.3
    heads_weight: float = 1.0
    head_scales: tuple[float, ...] = (1.0,)
    """What the ranker's score counts for in each head at first: as many as there are heads."""
    replay_rows: int = 100_000
    corrects_fake_negatives: bool = True
    """Whether labels of lists under `labels.policy: immediate` are importance-weighted."""
    mixed_precision: bool = False
    user_rows: RowLimits = RowLimits()
    update_clip: float = 0.02
    learns_position_bias: bool = True
    seed: int = 17
