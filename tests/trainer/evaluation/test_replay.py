"""Evaluation scores what docs/evaluate.md says, and the trainer's own learner does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.config import AppConfig
from features.label_config import LabelsConfig, resolve_labels
from tests.trainer.conftest import START_MS
from tests.trainer.evaluation.evaluation_parts import small_learner, stream_of, write_events, write_lists
from trainer.evaluation.outcome import Outcome, as_json
from trainer.evaluation.replay import Replay, ReplayOptions

_FIVE = [("a", "x", "like"), ("a", "x", "like"), ("a", "y", "like"), ("b", "x", "view"), ("b", "y", "like")]


def _many(size: int, seed: int = 5) -> list[tuple[str, str, str]]:
    random = np.random.default_rng(seed)
    return [
        (f"u{random.integers(9)}", f"i{int(random.zipf(1.4)) % 25}", "like" if random.random() < 0.7 else "view")
        for _ in range(size)
    ]


def _run(app: AppConfig, path: Path, options: ReplayOptions | None = None, served: Path | None = None) -> Outcome:
    return Replay(small_learner(app), stream_of(app, path, served), options).run()


def test_only_known_users_and_items_new_to_them_are_scored(app: AppConfig, tmp_path: Path) -> None:
    """Cold users are skipped, repeats are not targets, an item nobody knew is a miss, a known one can be hit."""
    organic = _run(app, write_events(tmp_path / "events.parquet", _FIVE)).parts()["organic"]
    assert (organic["events"], organic["skipped_cold"], organic["hr@10"]) == (2, 1, 0.5)


def test_json_has_the_parts_that_the_data_has(app: AppConfig, tmp_path: Path) -> None:
    """Names are those of the contract."""
    outcome = _run(app, write_events(tmp_path / "events.parquet", _FIVE))
    result = as_json(outcome, "0123456789abcdef", [])
    assert set(result) == {"organic", "samples", "wall_s", "events_per_s", "config_hash"}
    assert set(result["organic"]) == {
        *("events", "skipped_cold", "hr@10", "ndcg@10", "mrr@10", "coverage", "candidate_recall", "slices")
    }
    assert result["samples"] == 5


def test_score_from_learns_everything_and_scores_what_is_later(app: AppConfig, tmp_path: Path) -> None:
    """What is earlier teaches: its users are known, its cold users are not counted."""
    path = write_events(tmp_path / "events.parquet", _FIVE)
    organic = _run(app, path, ReplayOptions(score_from_ms=START_MS + 3000)).parts()["organic"]
    assert (organic["events"], organic["skipped_cold"]) == (1, 0)


def test_score_from_sums_up_to_the_whole(app: AppConfig, tmp_path: Path) -> None:
    """The day's parts and the whole are the same numbers."""
    outcome = _run(app, write_events(tmp_path / "events.parquet", _many(300)))
    assert sum(totals.count("hr@10") for totals in outcome.timeline.days.values()) == outcome.totals.count("hr@10")
    assert len(outcome.timeline.points) > 10


def test_lists_are_scored_before_they_are_learnt(app: AppConfig, tmp_path: Path) -> None:
    """Rows come from the tables; every list is judged once, with the label that came later."""
    events = [("a", "x", "view"), ("a", "y", "like"), ("b", "x", "like"), ("b", "z", "view")]
    path = write_events(tmp_path / "events.parquet", events, request_id=["", "r", "s", ""])
    served = write_lists(tmp_path / "served.parquet", [("r", "a", 1, ["x", "y", "z"]), ("s", "b", 1, ["x", "y"])])
    parts = _run(app, path, served=served).parts()
    assert parts["served"]["requests"] == 2
    assert set(parts["served"]) == {
        *("requests", "auc", "gauc", "mrr", "ndcg@10", "logloss", "ece", "user_gauc", "slices", "heads")
    }
    assert set(parts["served"]["heads"]) == {"like", "rate"}
    assert parts["served"]["heads"]["like"]["auc"] is not None
    assert "organic" not in parts


def test_rows_are_those_of_the_moment(app: AppConfig, tmp_path: Path) -> None:
    """A list's rows know the events before it, inside its micro-batch too, and none behind it."""
    learner, events = small_learner(app), [("a", "x", "like"), ("b", "y", "like"), ("a", "z", "like")]
    path = write_events(tmp_path / "events.parquet", events)
    served = write_lists(tmp_path / "served.parquet", [("r", "b", 1, ["x", "y", "z"])])
    replay = Replay(learner, stream_of(app, path, served))
    replay.run()
    _, rows = replay._lists._items["r"]
    volume = {item_id: (item.row or [])[0] for item_id, item in rows.items()}  # log1p of the item's events
    assert volume["x"] > 0.0
    assert (volume["y"], volume["z"]) == (0.0, 0.0)


def test_waiting_lists_are_scored_when_they_are_shown(app: AppConfig, tmp_path: Path) -> None:
    """Policy `wait`: judged once, though the list is learnt a window later."""
    labels = resolve_labels(LabelsConfig(policy="wait", window_s=1.5), app)
    path = write_events(tmp_path / "events.parquet", _FIVE, request_id=["", "", "r", "", ""])
    served = write_lists(tmp_path / "served.parquet", [("r", "a", 1, ["x", "y"]), ("s", "b", 1, ["x", "y"])])
    outcome = Replay(small_learner(app, labels), stream_of(app, path, served, labels)).run()
    assert (outcome.totals.count("settled_wanted"), outcome.totals.count("settled_gauc")) == (2, 1)


@pytest.mark.parametrize("options", [ReplayOptions(delay_s=1e-9), ReplayOptions(freeze_from=10_000)])
def test_scores_from_outside_are_the_learners_own(options: ReplayOptions, app: AppConfig, tmp_path: Path) -> None:
    """Without a real delay, and frozen after the end, the late scorer judges the same events as the learner."""
    path = write_events(tmp_path / "events.parquet", _many(150))
    plain, late = _run(app, path).parts()["organic"], _run(app, path, options).parts()["organic"]
    assert (late["events"], late["skipped_cold"]) == (plain["events"], plain["skipped_cold"])
    assert late["candidate_recall"] == pytest.approx(plain["candidate_recall"], abs=0.05)


def test_delay_makes_counters_and_weights_late(app: AppConfig, tmp_path: Path) -> None:
    """With a delay longer than the stream nothing is ever known: every target is missed, the same are judged."""
    path = write_events(tmp_path / "events.parquet", _many(100))
    organic = _run(app, path, ReplayOptions(delay_s=1000.0)).parts()["organic"]
    assert organic["events"] == _run(app, path).parts()["organic"]["events"]
    assert (organic["candidate_recall"], organic["hr@10"]) == (0.0, 0.0)


def test_frozen_weights_stay_and_counters_go_on(app: AppConfig, tmp_path: Path) -> None:
    """From the first event on: the ranker is as it was made, the tables hold everything."""
    learner = small_learner(app)
    before = learner.model.dense()
    Replay(learner, stream_of(app, write_events(tmp_path / "e.parquet", _FIVE)), ReplayOptions(freeze_from=0)).run()
    after = learner.model.dense()
    assert all(np.array_equal(before[name], after[name]) for name in before if name.startswith("ranker"))
    assert learner.progress.events == 5
