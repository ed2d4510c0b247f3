"""One arm as requests meet it: where its model comes from, how its lists are made, what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from serving.config import DiversityConfig, ExplorationConfig, ServingConfig
from serving.model_buffer import ModelLease


class LiveModel(Protocol):
    """Holds a model that serves now."""

    def take(self) -> ModelLease:
        """Return the model for one request, to be held with `with`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an arm's watch learns of one list."""

    request_id: str
    user_id: str
    took_s: float
    """Its own ranking, without waiting and without what lists of one moment share: a small arm shares less."""
    reasons: tuple[str, ...]
    """Why it is below full quality."""
    is_learnt: bool
    """Whether feedback on it is joined: not on surfaces with `learn: false`."""


class ArmWatch(Protocol):
    """Looks on as an arm answers."""

    def saw(self, arm: Arm, answered: Answered) -> None:
        """Take one list in; never waits."""


class Arm:
    """A share of the users, and what answers them.

    Args:
        models: its model.
        diversity: how unlike the items of its lists are.
        exploration: where its lists are drawn for.
        experiment: that it belongs to; empty for the users outside any.
        name: its own; empty likewise.
        watch: looks on as it answers.
    """

    def __init__(
        self,
        models: LiveModel,
        diversity: DiversityConfig,
        exploration: ExplorationConfig,
        experiment: str = "",
        name: str = "",
        watch: ArmWatch | None = None,
    ) -> None:
        self.models = models
        self.diversity = diversity
        self.exploration = exploration
        self.experiment = experiment
        self.name = name
        self.watch = watch
        self.lists = 0
        """Answered so far."""

    @classmethod
    def outside(cls, models: LiveModel, config: ServingConfig) -> Arm:
        """Return what answers users outside any experiment."""
        return cls(models, config.diversity, config.exploration)

    @property
    def key(self) -> tuple[str, str]:
        """Names it among all arms of all times."""
        return self.experiment, self.name
