"""The estimate finds a truth that the observed rewards do not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.evaluation.evaluation_parts import write_table
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.inverse_propensity import LoggedLists, estimate_arms, estimate_file, weights_without_draws

CLICK_CHANCES = np.array([0.5, 0.4, 0.3, 0.1, 0.05])
"""Of five items at the top."""
LOOKS = np.array([1.0, 0.7, 0.5])
"""Chance that a place is looked at."""
CONFIG = "actions: {like: {outcome: positive, reward: 2.0}, hide: {outcome: negative}, view: {outcome: neutral}}\n"


def simulated(order: list[int], arm: str, epsilon: float, num_lists: int, seed: int) -> LoggedLists:
    """Return lists of three whose places 0 and 1 are drawn for, with the clicks of simulated users."""
    random = np.random.default_rng(seed)
    columns: list[tuple[int, int, float, bool, float]] = []
    for number in range(num_lists):
        left = list(order)
        for place in range(3):
            drawn = 0
            propensity = 1.0
            if place < 2:
                drawn = int(random.integers(len(left))) if random.random() < epsilon else 0
                propensity = epsilon / len(left) + (1.0 - epsilon) * (drawn == 0)
            click = float(random.random() < CLICK_CHANCES[left[drawn]] * LOOKS[place])
            columns.append((number, place, propensity, drawn > 0, click))
            del left[drawn]
    codes, places, propensities, explored, rewards = (np.array(column) for column in zip(*columns, strict=True))
    return LoggedLists(codes, places, propensities, explored, rewards, [arm] * num_lists)


def truth(order: list[int]) -> float:
    """Return what lists in this order earn when nothing is drawn."""
    return float(CLICK_CHANCES[order[:3]] @ LOOKS)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
def test_estimate_covers_the_simulated_truth_and_the_observed_mean_does_not(order: list[int]) -> None:
    """With a good order draws cost reward, with a bad one they bring some; the estimate knows the order's own."""
    found = estimate_arms(simulated(order, "a", 0.5, 20_000, seed=1))["a"]
    assert found.without_draws_low < truth(order) < found.without_draws_high
    assert not found.observed_low < truth(order) < found.observed_high
    assert found.self_normalised == pytest.approx(truth(order), rel=0.03)


def test_estimate_is_unbiased_over_many_small_logs() -> None:
    """The mean of 200 estimates lies within four standard errors of the truth."""
    order = [0, 1, 2, 3, 4]
    found = [estimate_arms(simulated(order, "a", 0.6, 200, seed))["a"].without_draws for seed in range(200)]
    assert abs(np.mean(found) - truth(order)) < 4.0 * np.std(found) / np.sqrt(len(found))


def test_weights_are_one_over_the_chances_down_to_the_item_and_end_with_a_draw() -> None:
    """0.5 and 0.25 weigh 2 and 8; behind an explored item nothing counts; lists do not mix."""
    logged = LoggedLists(
        list_codes=np.array([0, 0, 0, 1, 1]),
        places=np.array([0, 1, 2, 0, 1]),
        propensities=np.array([0.5, 0.25, 1.0, 0.5, 1.0]),
        is_explored=np.array([False, False, False, True, False]),
        rewards=np.zeros(5),
        arms=["a", "a"],
    )
    assert weights_without_draws(logged).tolist() == pytest.approx([2.0, 8.0, 8.0, 0.0, 0.0])


def test_nothing_drawn_means_what_was_observed() -> None:
    """All propensities 1: both estimates are the mean."""
    found = estimate_arms(simulated([0, 1, 2, 3, 4], "a", 0.0, 500, seed=3))["a"]
    assert found.without_draws == found.observed == pytest.approx(found.self_normalised)
    assert found.effective_lists == pytest.approx(500)


def write_files(directory: Path, **served: Any) -> tuple[Path, Path, Path]:
    """Write two lists, one an arm, with feedback that counts and feedback that does not."""
    config = directory / "headrace.yaml"
    config.write_text(CONFIG)
    lists: dict[str, Any] = {
        "request_id": ["r1", "r1", "r2", "r2"],
        "user_id": ["ann", "ann", "bob", "bob"],
        "item_id": ["x", "y", "x", "y"],
        "position": [0, 1, 1, 0],
        "served_time_ms": [10**12] * 4,
        "propensity": [0.5, 1.0, 1.0, 0.9],
        "explored": [False, False, False, False],
        "arm": ["champion", "champion", "challenger", "challenger"],
    }
    day_ms = 86_400_000
    events: dict[str, Any] = {
        "event_id": ["1", "1", "2", "3", "4", "5"],
        "user_id": ["ann", "ann", "ann", "eve", "bob", "bob"],
        "item_id": ["x", "x", "y", "x", "y", "y"],
        "action": ["like", "like", "hide", "like", "view", "like"],
        "request_id": ["r1", "r1", "r1", "r1", "r2", "r2"],
        "event_time_ms": [10**12 + 5] * 5 + [10**12 + 2 * day_ms],
    }
    table = write_table(directory / "served.parquet", {k: v for k, v in (lists | served).items() if v is not None})
    return write_table(directory / "events.parquet", events), table, config


def test_feedback_of_the_user_in_time_is_the_reward(tmp_path: Path) -> None:
    """A like of reward 2 on x counts once, a hide takes 1 off; strangers, views and late likes count nothing."""
    found = estimate_file(*write_files(tmp_path))
    assert {arm: (one.lists, one.observed, one.without_draws) for arm, one in found.items()} == {
        "challenger": (1, 0.0, 0.0),
        "champion": (1, 1.0, 2.0 * 2.0 - 1.0 * 2.0),
    }


def test_a_list_that_was_written_twice_was_shown_once(tmp_path: Path) -> None:
    """Kafka may hold a record twice: its chances are not multiplied again."""
    once = estimate_file(*write_files(tmp_path))
    events, served, config = write_files(tmp_path)
    rows = pq.read_table(served)
    pq.write_table(pa.concat_tables([rows, rows]), served)
    assert estimate_file(events, served, config) == once


@pytest.mark.parametrize(
    ("served", "says"),
    [
        ({"propensity": None}, "lacks the column propensity"),
        ({"propensity": [0.5, 1.0, 0.0, 1.0]}, "row 3 has 0.0, must be above 0 and at most 1"),
        ({"explored": None}, "lacks the column explored"),
    ],
)
def test_what_cannot_be_estimated_is_refused_by_name(tmp_path: Path, served: dict[str, Any], says: str) -> None:
    """The sentence names the file, the column and the row."""
    with pytest.raises(EvaluationError, match=says):
        estimate_file(*write_files(tmp_path, **served))
