"""Metrics are what a full sort over everything would say, additive, and the same after a restart."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.measures.settling import ShownList
from trainer.metrics import PrequentialMetrics


def _fed(seed: int = 3, batches: int = 300) -> PrequentialMetrics:
    metrics = PrequentialMetrics()
    random = np.random.default_rng(seed)
    for _ in range(batches):
        _feed_batch(metrics, random)
    return metrics


def _feed_batch(metrics: PrequentialMetrics, random: np.random.Generator) -> None:
    chances = random.uniform(0.01, 0.99, size=16)
    metrics.observe_labelled(chances, (random.uniform(size=16) < chances).astype(np.float32))
    metrics.observe_organic(random.integers(0, 30, size=5).tolist(), missed=2)


def test_hits_gains_and_recall_are_those_of_the_ranks() -> None:
    """Ranks 0 and 9 are hits, 10 is none, a missed target counts as a miss and against recall."""
    metrics = PrequentialMetrics()
    metrics.observe_organic([0, 9, 10], missed=1)
    values = metrics.totals().values()
    assert (values["hr@10"], values["candidate_recall"]) == (0.5, 0.75)
    assert values["mrr@10"] == pytest.approx(1.1 / 4)
    assert values["ndcg@10"] == pytest.approx((1.0 + 1.0 / np.log2(11)) / 4)


def test_slices_count_their_own_targets_only() -> None:
    """A slice has every figure of its own."""
    metrics = PrequentialMetrics()
    metrics.observe_organic([0, 20, 3], missed=1, slices={"new_user": np.array([True, True, False, True])})
    values = metrics.totals().values()
    told = [values[f"{name}[new_user]"] for name in ("hr@10", "ndcg@10", "mrr@10", "candidate_recall")]
    assert told == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3])


def test_gauc_of_users_compares_across_their_lists_and_weighs_by_items() -> None:
    """A list of one kind alone has no area; beside the user's other lists it has."""
    metrics = PrequentialMetrics(window_ms=1)
    lists = {
        "r1": ("ada", [3.0, 1.0], [1.0, 0.0]),
        "r2": ("ada", [2.0], [0.0]),
        "r3": ("bob", [1.0, 2.0], [1.0, 0.0]),
    }
    for request_id, (user_id, scores, labels) in lists.items():
        arrays = (np.array(scores, dtype=np.float32), np.array(labels, dtype=np.float32))
        shown = ShownList(0, *arrays, user_id, ("device=phone",) if user_id == "bob" else ())
        metrics.settling.observe(request_id, shown, is_impression=True, is_immediate=True, now_ms=0)
    metrics.settle(10)
    values = metrics.totals().values()
    assert values["settled_user_gauc"] == pytest.approx((2 * 1.0 + 1 * 1.0 + 2 * 0.0) / 5)
    assert values["settled_user_gauc[device=phone]"] == values["settled_gauc[device=phone]"] == 0.0
    restored = PrequentialMetrics(window_ms=1)
    restored.restore(metrics.state())
    assert restored.state() == metrics.state()


def test_what_lies_between_two_totals_has_metrics_of_its_own() -> None:
    """A day's metrics are those of a run that saw only that day."""
    metrics = _fed(seed=1)
    before = metrics.totals()
    random = np.random.default_rng(2)
    alone = PrequentialMetrics()
    for _ in range(20):
        _feed_batch(metrics, random)
    random = np.random.default_rng(2)
    for _ in range(20):
        _feed_batch(alone, random)
    assert metrics.totals().minus(before).values() == pytest.approx(alone.totals().values())


def test_rolling_metrics_forget() -> None:
    """After a window of hits the rolling rate is 1, the overall one is not."""
    metrics = PrequentialMetrics()
    metrics.observe_organic([50] * 100, missed=0)
    for _ in range(250):
        metrics.observe_organic([0], missed=0)
    values = metrics.values()
    assert [values["hr@10"], values["hr@10_overall"]] == pytest.approx([1.0, 250 / 350])


def test_restored_metrics_go_on_alike() -> None:
    """State, restore, the same batches: the same values and the same state."""
    metrics, restored = _fed(), PrequentialMetrics()
    metrics.listed_rows = {3, 1}
    restored.restore(metrics.state())
    assert restored.values() == pytest.approx(metrics.values())
    for one in (metrics, restored):
        _feed_batch(one, np.random.default_rng(9))
    assert restored.values() == pytest.approx(metrics.values())
    assert (restored.state(), restored.listed_rows) == (metrics.state(), {1, 3})


def test_metrics_without_anything_are_empty() -> None:
    """No value is invented where nothing was observed."""
    assert PrequentialMetrics().values() == {}
