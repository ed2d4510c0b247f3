"""What a learner is and how far it is, as checkpoints hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass
class Progress:
    """How far the learner is: counters that go into checkpoints and the status file."""

    step: int = 0
    samples: int = 0
    events: int = 0
    duplicates: int = 0
    held: int = 0
    """Samples that counted and taught nothing, because their window is held."""
    released: int = 0
    """Of those, samples learnt since, when their window was let go."""
    capped: int = 0
    """Samples that counted and taught nothing, because their user had taught enough, see `trainer.user_cap`."""
    skipped_cold: int = 0
    non_finite_steps: int = 0
    """Steps that were not taken, see `trainer.refused_batches`."""
    clipped_steps: int = 0
    """Steps whose update was made smaller, see `trainer.flat_adam`."""
    newest_event_time_ms: int = 0
    newest_broker_time_ms: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Samples that could not be learnt, by reason."""


@dataclass(frozen=True)
class LearnerState:
    """All that a learner is, as plain arrays, strings and numbers."""

    arrays: dict[str, NDArray[Any]]
    names: dict[str, list[str]]
    progress: Progress
    metrics: bytes
