"""A shown list is judged once, by the scores from before anything of it was learnt, when its window has closed."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.measures import settling
from trainer.measures.settling import SettlingLists, ShownList, ranking_measures


def _shown(scores: list[float], labels: list[float], served_ms: int = 0) -> ShownList:
    return ShownList(served_ms, np.array(scores, dtype=np.float32), np.array(labels, dtype=np.float32))


def test_first_scores_and_last_labels_are_judged() -> None:
    """Scores of later batches have learnt the list already and do not count."""
    lists = SettlingLists(window_ms=100)
    lists.observe("r", _shown([1, 2], [0, 0]), True, True, now_ms=0)
    lists.observe("r", _shown([9, 9], [0, 1]), False, True, now_ms=50)
    assert list(lists.settled(now_ms=99)) == []
    (judged,) = lists.settled(now_ms=100)
    assert (judged.scores.tolist(), judged.labels.tolist()) == ([1, 2], [0, 1])


def test_late_feedback_opens_no_list() -> None:
    """A list that was judged is not judged again as one that is all positive."""
    lists = SettlingLists(window_ms=100)
    lists.observe("r", _shown([1, 2], [0, 0]), True, True, now_ms=0)
    assert len(list(lists.settled(now_ms=200))) == 1
    lists.observe("r", _shown([9, 9], [0, 1]), False, True, now_ms=210)
    assert list(lists.settled(now_ms=10_000)) == []


def test_waiting_list_counts_once() -> None:
    """Under `wait` feedback comes before its impression, which then adds nothing."""
    lists = SettlingLists(window_ms=100)
    lists.observe("r", _shown([1, 2], [0, 1]), False, False, now_ms=50)
    assert len(list(lists.settled(now_ms=100))) == 1
    lists.observe("r", _shown([3, 4], [0, 1]), True, False, now_ms=100)
    assert list(lists.settled(now_ms=10_000)) == []


def test_open_lists_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is judged early."""
    monkeypatch.setattr(settling, "OPEN_LIMIT", 2)
    lists = SettlingLists(window_ms=100)
    for number in range(3):
        lists.observe(f"r{number}", _shown([number], [0]), True, True, now_ms=0)
    assert [judged.scores[0] for judged in lists.settled(now_ms=0)] == [0]
    assert len(lists) == 2


def test_open_lists_survive_a_restart() -> None:
    """Lists of different lengths, and none at all."""
    lists, restored = SettlingLists(100), SettlingLists(100)
    restored.restore(lists.state())
    assert len(restored) == 0
    lists.observe("a", _shown([1, 2], [0, 1]), True, True, now_ms=0)
    lists.observe("b", _shown([3], [0], served_ms=7), False, False, now_ms=7)
    restored.restore(lists.state())
    assert restored.state() == lists.state()
    assert [judged.scores.tolist() for judged in restored.settled(1000)] == [[1, 2], [3]]


def test_ranking_measures_are_those_of_a_list() -> None:
    """The best positive stands second; of two positives the ideal list has both at the top."""
    measures = ranking_measures(np.array([3.0, 2.0, 1.0], np.float32), np.array([0, 1, 1], np.float32), 10)
    ideal = 1.0 + 1.0 / np.log2(3)
    assert measures == {"mrr": 0.5, "ndcg@10": pytest.approx((1.0 / np.log2(3) + 0.5) / ideal)}
    assert ranking_measures(np.zeros(2, np.float32), np.zeros(2, np.float32), 10) == {}
