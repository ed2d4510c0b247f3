"""The shipped defaults on streams of other shapes, beside simple methods: `python tests/bench/bench_shapes.py`.

News in shown lists, items that die fast, a long tail: made up (`shaped_streams.py`), judged by the rules of
docs/evaluate.md. Exits with 1 where the learner stands behind a simple method.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from features.blas_threads import limit_blas_threads  # noqa: E402
from features.label_config import derived_labels  # noqa: E402
from tests.bench.learning_data import DataSet  # noqa: E402
from tests.bench.shaped_streams import SHAPES  # noqa: E402
from trainer.config import TrainerConfig  # noqa: E402
from trainer.evaluation.baselines.registry import baseline_runs  # noqa: E402
from trainer.evaluation.outcome import Outcome  # noqa: E402
from trainer.evaluation.replay import Replay  # noqa: E402
from trainer.evaluation.run import make_learner  # noqa: E402

_BASELINES = ("popularity", "covisitation")


def main() -> int:
    """Run the shapes and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="which, with commas")
    parser.add_argument("--seed", type=int, default=1, help="of the streams")
    options = parser.parse_args()
    torch.set_num_threads(1)
    limit_blas_threads(1)
    lost = []
    for name in options.shapes.split(","):
        if name not in SHAPES:
            raise SystemExit(f"unknown shape {name!r}; there are {', '.join(SHAPES)}")
        data = SHAPES[name](options.seed)
        print(f"\n{data.name}: {data.stream.num_events:,} events, {data.stream.num_lists:,} lists")
        learner, *others = (_judged(outcome) for outcome in _outcomes(data))
        lost += [name] if learner < max(others) else []
    print(f"\nsummary: behind a simple method on {', '.join(lost) or 'none'} of {options.shapes}")
    return 1 if lost else 0


def _outcomes(data: DataSet) -> Iterator[Outcome]:
    labels = derived_labels(data.app)
    yield Replay(make_learner(data.app, TrainerConfig(), labels), data.stream).run()
    for _, run in baseline_runs(_BASELINES, data.app, labels):
        yield from run.run(data.stream, 0)


def _judged(outcome: Outcome) -> float:
    """Print one method's figures and return the one that counts: of lists where there are any, else of all items."""
    parts = outcome.parts()
    if "served" in parts:
        figures = {name: parts["served"][name] for name in ("gauc", "auc", "ndcg@10", "ece")}
    else:
        figures = {name: parts["organic"][name] for name in ("hr@10", "ndcg@10", "candidate_recall")}
    told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if value is not None)
    print(f"  {outcome.name:24} {told}", flush=True)
    return float(next(iter(figures.values())) or 0.0)


if __name__ == "__main__":
    sys.exit(main())
