"""Baselines by the name that `--baseline` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from features.config import AppConfig, nearest_name
from features.label_config import Labels
from trainer.evaluation.baselines.co_visitation import CoVisitationRanker
from trainer.evaluation.baselines.pointwise_run import PointwiseRun
from trainer.evaluation.baselines.popularity import PopularityRanker
from trainer.evaluation.baselines.ranking_run import RankingRun
from trainer.evaluation.baselines.vowpal import VowpalWabbit
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.outcome import Outcome
from trainer.evaluation.replay import Progress
from trainer.evaluation.stream import Stream

NAMES = ("popularity", "covisitation", "river", "vw")


class BaselineRun(Protocol):
    """One method, ready to run once."""

    def run(self, stream: Stream, score_from_ms: int, on_progress: Progress = ...) -> list[Outcome]:
        """Replay the stream."""


def baseline_runs(names: Sequence[str], app: AppConfig, labels: Labels) -> list[tuple[str, BaselineRun]]:
    """Return fresh runs of the named baselines, each with its name; checked before anything is replayed.

    Raises:
        EvaluationError: there is no baseline of this name.
        MissingPackageError: one needs a package that is not installed.
    """
    makers: dict[str, Callable[[], list[BaselineRun]]] = {
        "popularity": lambda: [RankingRun(PopularityRanker(), labels)],
        "covisitation": lambda: [RankingRun(CoVisitationRanker(), labels)],
        "river": lambda: _river_runs(app),
        "vw": lambda: [PointwiseRun(VowpalWabbit(), app)],
    }
    for name in names:
        if name not in makers:
            raise EvaluationError(f"--baseline: unknown method {name!r}{nearest_name(name, NAMES)}")
    return [(name, run) for name in dict.fromkeys(names) for run in makers[name]()]


def _river_runs(app: AppConfig) -> list[BaselineRun]:
    from trainer.evaluation.baselines.river_models import RiverFactorisation, RiverRegression  # river takes a second.

    return [PointwiseRun(RiverFactorisation(), app), PointwiseRun(RiverRegression(), app)]
