"""How well the learner learns, beside simple methods in the same process: `python tests/bench/bench_learning.py`.

MovieTweetings (rating >= 8) and ML-100k (rating >= 4), strictly in time order, predict before learn, by the rules of
docs/evaluate.md with the shipped defaults. Every figure twice: over the whole stream, and over the last 80 % of its
events (settings were chosen on the first 20 %). `--ingredients` runs the learner again with one part switched off at a
time, or built up from the counters of items. Exits with 1 where a goal is missed, 0 where all hold or a data set is not
here.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from features.blas_threads import limit_blas_threads  # noqa: E402
from features.config import AppConfig, nearest_name, validate  # noqa: E402
from features.label_config import derived_labels  # noqa: E402
from tests.bench.ingredients import FAMILIES, INGREDIENTS, Ingredient, hide_inputs  # noqa: E402
from tests.bench.learning_data import DataSet, NoDataError, load_data  # noqa: E402
from trainer.config import TrainerConfig  # noqa: E402
from trainer.evaluation.baselines.registry import NAMES, baseline_runs  # noqa: E402
from trainer.evaluation.errors import MissingPackageError  # noqa: E402
from trainer.evaluation.outcome import Outcome, parts_of  # noqa: E402
from trainer.evaluation.replay import Progress, Replay, ReplayOptions  # noqa: E402
from trainer.evaluation.run import make_learner  # noqa: E402


@dataclass(frozen=True)
class Goal:
    """One line of "done when"."""

    data: str
    part: str
    metric: str
    bound: float
    is_upper: bool = False

    def is_met(self, value: float | None) -> bool:
        """Say whether a figure holds the goal."""
        return value is not None and (value <= self.bound if self.is_upper else value >= self.bound)

    @property
    def text(self) -> str:
        """The goal in words."""
        return f"{self.data} {self.part} {self.metric} {'<=' if self.is_upper else '>='} {self.bound:g}"


GOALS = (
    Goal("movietweetings", "organic", "hr@10", 0.275),
    Goal("movietweetings", "organic", "candidate_recall", 0.55),
    Goal("ml-100k", "organic", "hr@10", 0.21),
    Goal("ml-100k", "labelled", "auc", 0.775),
    Goal("ml-100k", "labelled", "logloss", 0.565, is_upper=True),
    Goal("movietweetings", "labelled", "ece", 0.02, is_upper=True),
    Goal("ml-100k", "labelled", "ece", 0.02, is_upper=True),
)
EVENTS_PER_S_GOAL = 2000.0
"""On MovieTweetings, on one core, in CPU time."""


def main() -> int:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="movietweetings,ml-100k", help="data sets, with commas")
    parser.add_argument("--limit", type=int, default=None, help="only the first events of each stream")
    parser.add_argument("--baseline", default="popularity,covisitation,river,vw", help="methods beside the learner")
    parser.add_argument(
        "--ingredients", nargs="?", const="", metavar="NAME,...", help="table of variants; all by default"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    limit_blas_threads(1)
    verdicts: list[tuple[str, bool]] = []
    for name in options.data.split(","):
        try:
            data = load_data(name, options.limit)
        except NoDataError as error:
            print(f"{name}: skipped, {error}")
            continue
        if options.ingredients is not None:
            _print_ingredients(data, _chosen(options.ingredients))
        else:
            verdicts += _print_quality(data, [one for one in options.baseline.split(",") if one])
    if options.ingredients is not None:
        print("done: each line is the learner with one part changed")
        return 0
    return _print_summary(verdicts)


def replay_learner(data: DataSet, ingredient: Ingredient = INGREDIENTS[0]) -> Outcome:
    """Run one variant of the learner over a stream; its events/s are those of CPU time."""
    app, config = overridden(data.app, ingredient.overrides)
    learner = make_learner(app, config, derived_labels(app))
    hide_inputs(learner, [prefix for family in ingredient.hidden for prefix in FAMILIES[family]])
    entries = len(data.stream.entries)
    freeze_from = None if ingredient.freeze_share is None else int(ingredient.freeze_share * entries)
    began_s = time.process_time()
    with _progress(f"{data.name} {ingredient.name}", entries) as progress:
        outcome = Replay(learner, data.stream, ReplayOptions(0, ingredient.delay_s, freeze_from), progress).run()
    return replace(outcome, wall_s=time.process_time() - began_s)  # One thread; other work must not count.


def overridden(app: AppConfig, overrides: Mapping[str, Any]) -> tuple[AppConfig, TrainerConfig]:
    """Return the configuration with dotted keys (`features.…`, `trainer.…`) set; unknown ones are refused."""
    tree: dict[str, Any] = {**app.model_dump(), "trainer": TrainerConfig().model_dump()}
    for key, value in overrides.items():
        *path, last = key.split(".")
        node = tree
        for part in path:
            node = node[part]
        if last not in node:
            raise SystemExit(f"unknown key {key}{nearest_name(last, list(node))}")
        node[last] = value
    trainer = tree.pop("trainer")
    return validate(tree, AppConfig, "ingredient"), validate(trainer, TrainerConfig, "ingredient")


def late_parts(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return the metrics of the last 80 % of a stream's events."""
    early = outcome.timeline.early
    return parts_of(outcome.totals if early is None else outcome.totals.minus(early))


def _chosen(names: str) -> list[Ingredient]:
    if not names:
        return list(INGREDIENTS)
    wanted = [name.strip() for name in names.split(",")]
    known = {ingredient.name: ingredient for ingredient in INGREDIENTS}
    for name in wanted:
        if name not in known:
            raise SystemExit(f"unknown ingredient {name!r}{nearest_name(name, list(known))}")
    return [known[name] for name in wanted]


def _print_quality(data: DataSet, baselines: list[str]) -> list[tuple[str, bool]]:
    print(f"\n{data.name}: {data.stream.num_events:,} events, goals beside the figures")
    _print_head()
    learner = replay_learner(data)
    _print_row(learner)
    for name in baselines:
        for outcome in _baseline_outcomes(data, name):
            _print_row(outcome)
    return _judge(data, learner)


def _baseline_outcomes(data: DataSet, name: str) -> list[Outcome]:
    if name not in NAMES:
        raise SystemExit(f"unknown baseline {name!r}{nearest_name(name, NAMES)}")
    try:
        runs = baseline_runs([name], data.app, derived_labels(data.app))
    except MissingPackageError as error:
        print(f"{name}: skipped, {error}")
        return []
    return [outcome for _, run in runs for outcome in run.run(data.stream, 0)]


def _print_ingredients(data: DataSet, ingredients: list[Ingredient]) -> None:
    print(f"\n{data.name}: {data.stream.num_events:,} events, what each ingredient brings")
    _print_head()
    for ingredient in ingredients:
        _print_row(replay_learner(data, ingredient), ingredient.name)


_COLUMNS = (
    ("organic", "hr@10"),
    ("organic", "ndcg@10"),
    ("organic", "candidate_recall"),
    ("labelled", "auc"),
    ("labelled", "logloss"),
    ("labelled", "ece"),
)


def _print_head() -> None:
    names = [name if part == "organic" else f"{part[:5]} {name}" for part, name in _COLUMNS]
    print(f"{'whole | last 80 %':28}" + "".join(f"{name:>19}" for name in names) + f"{'events/s':>10}", flush=True)


def _print_row(outcome: Outcome, name: str = "") -> None:
    whole, late = outcome.parts(), late_parts(outcome)
    cells = [f"{_figure(whole, *column)} | {_figure(late, *column)}" for column in _COLUMNS]
    line = f"{name or outcome.name:28}" + "".join(f"{cell:>19}" for cell in cells)
    print(line + f"{outcome.events_per_s:>10,.0f}", flush=True)


def _figure(parts: Mapping[str, Mapping[str, Any]], part: str, name: str) -> str:
    value = parts.get(part, {}).get(name)
    return "    -" if value is None else f"{value:.4f}"


def _judge(data: DataSet, learner: Outcome) -> list[tuple[str, bool]]:
    verdicts = []
    for goal in (goal for goal in GOALS if goal.data == data.name):
        for span, parts in (("whole", learner.parts()), ("last 80 %", late_parts(learner))):
            value = parts.get(goal.part, {}).get(goal.metric)
            verdicts.append(_verdict(f"{goal.text} ({span})", value, goal.is_met(value)))
    if data.name == "movietweetings":
        is_met = learner.events_per_s >= EVENTS_PER_S_GOAL
        verdicts.append(_verdict(f"{data.name} events/s >= {EVENTS_PER_S_GOAL:g}", learner.events_per_s, is_met))
    return verdicts


def _verdict(text: str, value: float | None, is_met: bool) -> tuple[str, bool]:
    said = "no figure" if value is None else f"{value:.4f}"
    print(f"  {'met   ' if is_met else 'MISSED'} {text}: {said}", flush=True)
    return text, is_met


def _print_summary(verdicts: list[tuple[str, bool]]) -> int:
    missed = [text for text, is_met in verdicts if not is_met]
    if not verdicts:
        print("summary: nothing was measured, no data set is here")
        return 0
    print(f"summary: {len(verdicts) - len(missed)} of {len(verdicts)} goals met; missed: {'; '.join(missed) or 'none'}")
    return 1 if missed else 0


@contextmanager
def _progress(what: str, total: int) -> Iterator[Progress]:
    """Count on stderr where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    yield lambda done: print(f"\r{what}: {done:,} of {total:,} ", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
