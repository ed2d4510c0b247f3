"""Baselines are judged on the same events as the learner, and never on what they have learnt already."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from features.config import ActionConfig, AppConfig
from features.label_config import derived_labels
from tests.trainer.conftest import START_MS
from tests.trainer.evaluation.evaluation_parts import small_learner, stream_of, write_events, write_lists
from trainer.evaluation.baselines.co_visitation import CoVisitationRanker
from trainer.evaluation.baselines.pointwise_run import LabelledEvent, PointwiseRun
from trainer.evaluation.baselines.popularity import DecayedPopularity
from trainer.evaluation.baselines.ranking_run import RankingRun
from trainer.evaluation.baselines.registry import baseline_runs
from trainer.evaluation.errors import EvaluationError, MissingPackageError
from trainer.evaluation.outcome import Outcome
from trainer.evaluation.replay import Replay

RATED = AppConfig(name="rated", actions={"rating": ActionConfig(positive_when="value >= 4")})


def _outcomes(
    app: AppConfig, names: str, events: Path, served: Path | None = None, score_from: int = 0
) -> list[Outcome]:
    stream = stream_of(app, events, served)
    runs = baseline_runs(names.split(","), app, derived_labels(app))
    return [outcome for _, run in runs for outcome in run.run(stream, score_from)]


def _random_events(path: Path, size: int) -> Path:
    random = np.random.default_rng(7)
    users, items = random.integers(12, size=size), random.zipf(1.4, size=size) % 30
    likes = np.where(random.random(size) < 0.7, "like", "view")
    return write_events(path, [(f"u{u}", f"i{i}", a) for u, i, a in zip(users, items, likes.tolist(), strict=True)])


def test_popularity_halves_every_five_hundred_positives() -> None:
    """And stays finite for ever: weights are scaled back."""
    popularity = DecayedPopularity()
    popularity.add_positive(0)
    for _ in range(500):
        popularity.add_positive(1)
    shares = popularity.shares(2)
    assert shares[0] / shares[1] == pytest.approx(0.5 / sum(2.0 ** (-n / 500) for n in range(500)))
    for number in range(600_000):
        popularity.add_positive(number % 3)
    assert popularity.shares(3).sum() == pytest.approx(1.0)


def test_every_method_is_judged_on_the_same_events(app: AppConfig, tmp_path: Path) -> None:
    """Learner and baselines: as many events, as many cold users, whatever is scored."""
    path = _random_events(tmp_path / "events.parquet", 200)
    learner = Replay(small_learner(app), stream_of(app, path)).run()
    found = {
        (outcome.totals.count("hr@10"), outcome.skipped_cold)
        for outcome in [learner, *_outcomes(app, "popularity,covisitation", path)]
    }
    assert len(found) == 1


def test_what_follows_is_found(app: AppConfig, tmp_path: Path) -> None:
    """Many users went from x to y: so does the next one, though others are more popular."""
    crowd = [(f"c{n}", f"p{n % 12}", "like") for n in range(600)]
    pairs = [event for n in range(20) for event in ((f"u{n}", "x", "like"), (f"u{n}", "y", "like"))]
    path = write_events(tmp_path / "e.parquet", [*pairs, *crowd, ("last", "x", "like"), ("last", "y", "like")])
    start = START_MS + 1000 * 641
    hits = {
        outcome.name: outcome.parts()["organic"]["hr@10"]
        for outcome in _outcomes(app, "popularity,covisitation", path, score_from=start)
    }
    assert hits["popularity"] == 0.0
    assert hits["covisitation after 9:1"] == 1.0


def test_an_event_is_judged_before_it_is_learnt(app: AppConfig, tmp_path: Path) -> None:
    """An item that nobody had before is a miss for every method."""
    path = write_events(tmp_path / "events.parquet", [("a", "x", "view"), ("a", "new", "like")])
    for outcome in _outcomes(app, "popularity,covisitation", path):
        assert outcome.parts()["organic"]["candidate_recall"] == 0.0


def test_shown_lists_are_ordered_too(app: AppConfig, tmp_path: Path) -> None:
    """The popular item stands first; a share is no chance, so that it has no loss."""
    events = [(f"u{n}", "hot", "like") for n in range(5)] + [("u1", "cold", "view"), ("z", "hot", "like")]
    path = write_events(tmp_path / "e.parquet", events, request_id=["", "", "", "", "", "", "r"])
    served = write_lists(tmp_path / "s.parquet", [("r", "z", 5, ["cold", "hot", "unknown"])])
    (outcome,) = _outcomes(app, "popularity", path, served)
    shown = outcome.parts()["served"]
    assert (shown["requests"], shown["gauc"], shown["mrr"], shown["logloss"]) == (1, 1.0, 1.0, None)


class _Oracle:
    """Says what it was told last of an item: perfect only where it learns before it predicts."""

    name = "oracle"

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def predict(self, event: LabelledEvent) -> float:
        return self._last.get(event.item_id, 0.5)

    def learn(self, event: LabelledEvent, label: float) -> None:
        self._last[event.item_id] = label


def test_labelled_events_are_predicted_before_they_are_learnt(tmp_path: Path) -> None:
    """Cold ones included; what carries no value is none."""
    events = [("a", f"i{n}", "rating") for n in range(6)]
    path = write_events(tmp_path / "events.parquet", events, value=[5.0, 1.0, 4.0, 3.0, None, 5.0])
    (outcome,) = PointwiseRun(_Oracle(), RATED).run(stream_of(RATED, path), 0)
    labelled = outcome.parts()["labelled"]
    assert (labelled["events"], labelled["auc"]) == (5, 0.5)


def test_river_learns_ratings(tmp_path: Path) -> None:
    """Items that are always good and always bad are told apart."""
    events = [(f"u{n % 7}", f"i{n % 2}", "rating") for n in range(400)]
    path = write_events(tmp_path / "events.parquet", events, value=[5.0 - 3.0 * (n % 2) for n in range(400)])
    for outcome in _outcomes(RATED, "river", path):
        assert outcome.parts()["labelled"]["auc"] > 0.95


@pytest.mark.skipif(importlib.util.find_spec("vowpalwabbit") is None, reason="vowpalwabbit is not installed")
def test_vowpal_wabbit_learns_ratings(tmp_path: Path) -> None:
    """Ids with spaces, colons and bars are ids all the same."""
    events = [(f"u {n % 7}", f"i|{n % 2}:", "rating") for n in range(400)]
    path = write_events(tmp_path / "events.parquet", events, value=[5.0 - 3.0 * (n % 2) for n in range(400)])
    (outcome,) = _outcomes(RATED, "vw", path)
    assert outcome.parts()["labelled"]["auc"] > 0.95


@pytest.mark.skipif(importlib.util.find_spec("vowpalwabbit") is not None, reason="vowpalwabbit is installed")
def test_missing_package_says_how_to_get_it(app: AppConfig) -> None:
    """Before anything is replayed."""
    with pytest.raises(MissingPackageError, match="uv sync --group evaluate"):
        baseline_runs(["vw"], app, derived_labels(app))


def test_unknown_baseline_is_answered_with_the_nearest(app: AppConfig) -> None:
    """A typing error is no traceback."""
    with pytest.raises(EvaluationError, match="did you mean 'popularity'"):
        baseline_runs(["populrity"], app, derived_labels(app))


def test_rankers_start_empty(app: AppConfig, tmp_path: Path) -> None:
    """A list before any event is scored without an item in the tables."""
    path = write_events(tmp_path / "e.parquet", [("z", "x", "like")], event_time_ms=[START_MS + 5000], request_id=["r"])
    served = write_lists(tmp_path / "s.parquet", [("r", "z", 0, ["x", "y"])])
    run = RankingRun(CoVisitationRanker(), derived_labels(app))
    assert all(one.parts()["served"]["gauc"] == 0.5 for one in run.run(stream_of(app, path, served), 0))
