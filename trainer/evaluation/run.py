"""One evaluation from options to outcomes: what `headrace evaluate` and the benches call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from features.blas_threads import limit_blas_threads
from features.config import AppConfig, load_app_config, load_section
from features.label_config import Labels, load_labels
from trainer.config import TrainerConfig, config_hash
from trainer.evaluation.baselines.registry import baseline_runs
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.outcome import Outcome, as_json
from trainer.evaluation.replay import Progress, Replay, ReplayOptions
from trainer.evaluation.stream import Stream, read_stream
from trainer.online_learner import OnlineLearner
from trainer.startup import device_of
from trainer.warm_up import warm_up_trainer

Bar = Callable[[str, int], AbstractContextManager[Progress]]
"""(what, entries) -> progress of one pass."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What is evaluated, and how."""

    events: Path
    config: Path
    served: Path | None = None
    items: Path | None = None
    action: str | None = None
    limit: int | None = None
    score_from_ms: int = 0
    delay_s: float = 0.0
    baselines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """The learner's outcome, then those of the baselines."""

    learner: Outcome
    baselines: list[Outcome]
    config_hash: str
    warnings: list[str] = field(default_factory=list)

    @property
    def outcomes(self) -> list[Outcome]:
        """All of them."""
        return [self.learner, *self.baselines]

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` writes."""
        return as_json(self.learner, self.config_hash, self.baselines)


def evaluate(options: EvaluateOptions, bar: Bar) -> Evaluation:
    """Read the files, replay them through the learner, then through every baseline.

    Raises:
        ConfigError: the configuration, a file or an option cannot be used.
    """
    app = load_app_config(options.config)
    labels = load_labels(options.config, app)
    config = load_section(options.config, "trainer", TrainerConfig)
    runs = baseline_runs(options.baselines, app, labels)
    stream = read_stream(options.events, app, labels, options.served, options.items, options.action, options.limit)
    last_ms = stream.entries[-1].time_ms
    if options.score_from_ms > last_ms:
        raise EvaluationError(
            f"--score-from {options.score_from_ms} is later than the last event ({last_ms}); lower it"
        )
    torch.set_num_threads(config.num_threads)
    limit_blas_threads(config.num_threads)
    learner = make_learner(app, config, labels)
    warm_up_trainer()  # Or the first events are as slow as a compiler, where its cache is empty.
    replay_options = ReplayOptions(options.score_from_ms, options.delay_s)
    with bar("headrace", len(stream.entries)) as progress:
        outcome = Replay(learner, stream, replay_options, progress).run()
    outcomes = []
    for name, run in runs:
        with bar(name, len(stream.entries)) as progress:
            outcomes += run.run(stream, options.score_from_ms, progress)
    return Evaluation(outcome, outcomes, config_hash(app, config.learner, labels), warnings_of(stream))


def make_learner(app: AppConfig, config: TrainerConfig, labels: Labels) -> OnlineLearner:
    """Return the trainer's learner, listing only items that had an event."""
    device = device_of(config)
    return OnlineLearner(app, config.learner, device, lists_only_seen=True, labels=labels, slices=config.slices)


def warnings_of(stream: Stream) -> list[str]:
    """Return what looks wrong with a stream that can be used all the same."""
    found = []
    if stream.entries[-1].time_ms < 10**11:
        found.append("event_time_ms looks like seconds (the last event is before 1973); it must be milliseconds")
    if stream.unknown_requests:
        found.append(
            f"{stream.unknown_requests} events name a request_id whose list is not in --served: taken as organic"
        )
    return found
