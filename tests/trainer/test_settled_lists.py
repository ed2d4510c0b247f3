"""What the learner says of a shown list before it learns it is judged when the list's window has closed."""

from __future__ import annotations

import numpy as np

from tests.trainer.conftest import organic, served_pair
from trainer.online_learner import OnlineLearner

_LATER = 7000
"""Index of an organic event more than a window after the first list."""


def _settled(learner: OnlineLearner) -> dict[str, float]:
    learner.learn_batch([organic(_LATER, user=1, item=1)])
    return {name: value for name, value in learner.metrics.totals().values().items() if name.startswith("settled")}


def test_list_and_click_in_two_batches_are_judged_as_one(learner: OnlineLearner) -> None:
    """A correction begins with its item: the label must land on that item, wherever it stood."""
    for clicked in range(5):
        impression, correction = served_pair(learner, clicked, user=1, clicked=clicked)
        logits = learner.ranker.predict(np.array([item.row for item in impression.items], dtype=np.float32))
        learner.learn_batch([impression])
        learner.learn_batch([correction])
        shown = learner.metrics.settling._open[f"r{clicked}"]
        assert shown.labels.tolist() == [float(i == clicked) for i in range(5)]
        assert np.allclose(shown.scores, logits, atol=1e-6)


def test_lists_are_judged_after_their_window(learner: OnlineLearner) -> None:
    """Not before; then with a rank, an area and a loss."""
    learner.learn_batch(list(served_pair(learner, 0, user=1, clicked=2)))
    assert not learner.metrics.totals().count("settled_wanted")
    assert set(_settled(learner)) == {
        *("settled_wanted", "settled_gauc", "settled_mrr", "settled_ndcg@10"),
        *("settled_auc", "settled_logloss", "settled_ece", "settled_user_gauc", "settled_user_gauc[user=new]"),
        *(f"settled_{name}[user=new]" for name in ("gauc", "mrr", "ndcg@10")),
    }


def test_ignored_list_counts_too(learner: OnlineLearner) -> None:
    """Nothing on it was wanted: it has a loss and no rank."""
    impression, _ = served_pair(learner, 0, user=1, clicked=2)
    learner.learn_batch([impression])
    assert _settled(learner)["settled_wanted"] == 0.0
    assert "settled_mrr" not in learner.metrics.totals().values()


def test_open_lists_are_part_of_the_state(learner: OnlineLearner) -> None:
    """A restart between list and click changes nothing."""
    impression, correction = served_pair(learner, 0, user=1, clicked=2)
    learner.learn_batch([impression])
    restored = OnlineLearner(learner.app, learner.config)
    restored.restore(learner.state())
    for one in (learner, restored):
        one.learn_batch([correction])
    assert _settled(restored) == _settled(learner)
