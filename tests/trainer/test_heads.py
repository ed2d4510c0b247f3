"""Heads: what each label says to each of them, and that each ends as a true chance of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from features.config import ActionConfig, AppConfig
from features.label_config import HeadConfig, LabelsConfig, resolve_labels
from tests.trainer.conftest import organic, served_pair
from trainer.config import LearnerConfig
from trainer.head_targets import HeadTargets
from trainer.loss import CHANGED_LABEL, FIRST_LABEL, TRUSTED_LABEL, UNTOLD
from trainer.measures.curve import Curve, auc
from trainer.model import Model
from trainer.online_learner import OnlineLearner
from trainer.ranker_learner import LabelledList, ListBatch, RankerLearner
from trainer.samples import Sample
from trainer.step_config import StepConfig

CLICK, DISMISS, DWELL = range(3)
ACTIONS = {
    "click": ActionConfig(outcome="positive"),
    "view": ActionConfig(),
    "dismiss": ActionConfig(),
}
HEADS = {
    "click": HeadConfig(actions=("click",)),
    "dwell": HeadConfig(actions=("view",), when="value >= 30", weight=0),
    "dismiss": HeadConfig(actions=("dismiss",), value=0),
}
APP = AppConfig(actions=ACTIONS)
LABELS = resolve_labels(LabelsConfig(heads=HEADS), APP)
SIZE, LISTS = 20, 8


@pytest.fixture
def shop() -> OnlineLearner:
    """A learner with three heads: one for, one against, one that is predicted only."""
    return OnlineLearner(APP, LearnerConfig(embedding_dim=8), labels=LABELS)


def told(learner: OnlineLearner) -> list[list[tuple[int, int, int, int]]]:
    """Return a list a batch of (row, head, label, kind) of what its heads were told."""
    found = []
    for batch in learner.ranker.recent:
        places = np.argwhere(batch.head_labels != UNTOLD).tolist()
        found.append([(r, k, int(batch.head_labels[r, k]), int(batch.head_kinds[r, k])) for r, k in places])
    return found


def feedback(correction: Sample, event_id: str, **labels: float) -> Sample:
    """Turn a correction into one that says this of its item."""
    items = [msgspec.structs.replace(correction.items[0], labels=dict(labels)), *correction.items[1:]]
    return msgspec.structs.replace(correction, sample_id=event_id, event_id=event_id, items=items)


def test_heads_against_an_item_happen_where_they_say_no() -> None:
    """A rating below its bound is no `rate`; a dismissal is a `dismiss`."""
    actions = {"rate": ActionConfig(positive_when="value >= 4", negative_when="value < 3"), **ACTIONS}
    labels = resolve_labels(LabelsConfig(), AppConfig(actions=actions | {"hide": ActionConfig(outcome="negative")}))
    targets = HeadTargets(labels)
    assert targets.names == ("click", "hide", "rate")
    assert targets.first_scales == (1.0, 0.0, 1.0)
    assert [targets.target("rate", 0), targets.target("rate", 1)] == [(2, 0), (2, 1)]
    assert targets.target("hide", 0) == (1, 1)
    assert targets.target("gone", 1) is None
    assert targets.happened({"hide": 0, "rate": 0, "click": 1}) == [0, 1]


def test_a_shown_item_is_no_to_every_head_until_one_happens(shop: OnlineLearner) -> None:
    """The impression says no to all, a correction speaks of its head alone."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    shop.learn_batch([impression])
    shop.learn_batch([feedback(correction, "c", click=1.0)])
    first, second = told(shop)
    assert first == [(row, head, 0, FIRST_LABEL) for row in range(5) for head in range(3)]
    assert second == [(2, CLICK, 1, CHANGED_LABEL)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_in_one_batch_a_head_that_happened_is_never_a_no(shop: OnlineLearner, order: Sequence[int]) -> None:
    """Whichever comes first: one yes as a first word, and no to the fourteen others."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    pair = [impression, feedback(correction, "c", click=1.0)]
    shop.learn_batch([pair[number] for number in order])
    (batch,) = told(shop)
    assert [(head, kind) for _, head, label, kind in batch if label] == [(CLICK, FIRST_LABEL)]
    assert len(batch) == 15


@pytest.mark.parametrize("head", ["click", "dismiss"])
def test_an_impression_behind_its_feedback_takes_nothing_back(shop: OnlineLearner, head: str) -> None:
    """The late list says no to all that is not known to have happened."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    shop.learn_batch([feedback(correction, "c", **{head: float(head == "click")})])
    shop.learn_batch([impression])
    first, second = told(shop)
    column = {"click": CLICK, "dismiss": DISMISS}[head]
    assert [(k, label) for _, k, label, _ in first] == [(column, 1)]
    assert {label for _, _, label, _ in second} == {0}
    assert len(second) == 14
    assert (2, column) not in {(row, k) for row, k, _, _ in second}


def test_under_wait_labels_are_trusted(shop: OnlineLearner) -> None:
    """Negatives that waited for their window need no correction."""
    pair = served_pair(shop, 1, user=1, clicked=2)
    for sample in (feedback(pair[1], "c", click=1.0), pair[0]):
        shop.learn_batch([msgspec.structs.replace(sample, label_policy="wait")])
    assert {kind for batch in told(shop) for *_, kind in batch} == {TRUSTED_LABEL}


def test_a_head_without_weight_is_predicted_and_moves_no_ranking(shop: OnlineLearner) -> None:
    """`weight: 0`: the head learns; to the ranker and to retrieval the item is no positive."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    shop.learn_batch([impression])
    shop.learn_batch([feedback(correction, "c", dwell=1.0)])
    assert told(shop)[1] == [(2, DWELL, 1, CHANGED_LABEL)]
    assert not shop.ranker.recent[1].weights.any()
    assert shop.retrieval.frequency.last_step.size == 0


def test_an_organic_event_speaks_of_its_own_head(shop: OnlineLearner) -> None:
    """What else the user might have done with the items of that moment nobody knows."""
    events = [organic(0, user=1, item=1), organic(1, user=2, item=2), organic(2, user=1, item=2)]
    clicks = [msgspec.structs.replace(event, action="click") for event in events]
    shop.learn_batch(clicks[:2])
    shop.learn_batch(clicks[2:])
    batch = told(shop)[-1]
    assert {head for _, head, _, _ in batch} == {CLICK}
    assert sum(label for _, _, label, _ in batch) == 1
    assert len(batch) == len(shop.ranker.recent[-1].labels)


def shown_lists(random: np.random.Generator) -> tuple[ListBatch, NDArray[np.float64]]:
    """Lists on which clicks follow input 0, and purchases, rarer, inputs 0 and 1 against each other."""
    inputs = random.normal(size=(LISTS, SIZE, 4)).astype(np.float32)
    clicks = 1.0 / (1.0 + np.exp(2.0 - 1.5 * inputs[..., 0]))
    buys = 1.0 / (1.0 + np.exp(3.5 + inputs[..., 0] - 1.5 * inputs[..., 1]))
    chances = np.stack([clicks, buys], axis=-1)
    happened = random.random(chances.shape) < chances
    lists = []
    for rows, done in zip(inputs, happened, strict=True):
        labels = done.any(axis=1).astype(np.float32)
        kinds = np.zeros(SIZE, dtype=np.int8)
        positions = np.arange(SIZE)
        heads = done.astype(np.int8), np.zeros((SIZE, 2), dtype=np.int8)
        ones = np.ones(SIZE, dtype=np.float32)
        lists.append(LabelledList(rows, labels, ones, kinds, positions, True, *heads, ones))
    return ListBatch.of_lists(lists), happened.reshape(-1, 2).astype(np.float64)


@pytest.mark.timeout(300)
def test_every_head_ends_as_a_true_chance_of_its_own() -> None:
    """The rare head is told apart by itself, not by the score of all; both are calibrated."""
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    model = Model(embedding_dim=2, num_inputs=4, num_pre_ranker_inputs=1, first_scales=(1.0, 1.0))
    learner = RankerLearner(model.ranker, model.heads, StepConfig(replay_rows=20_000), "cpu")
    for step in range(1500):
        learner.learn_batch(shown_lists(random)[0], step)
    judged = [shown_lists(random) for _ in range(100)]
    inputs = np.concatenate([batch.inputs for batch, _ in judged])
    happened = np.concatenate([done for _, done in judged])
    scores, heads = learner.predict(inputs), learner.predict_heads(inputs)
    by_head, by_score = auc(heads[:, 1], happened[:, 1]), auc(scores, happened[:, 1])
    assert by_head is not None
    assert by_score is not None
    assert by_head > by_score + 0.1
    for column in range(2):
        curve = Curve()
        curve.observe(1.0 / (1.0 + np.exp(-heads[:, column].astype(np.float64))), happened[:, column])
        assert curve.values()["ece"] < 0.02


def test_switched_off_heads_cost_and_judge_nothing(shop: OnlineLearner) -> None:
    """`heads_weight: 0`: no weight of a head moves, and no metric of one is told."""
    off = OnlineLearner(APP, LearnerConfig(embedding_dim=8, heads_weight=0), labels=LABELS)
    for learner in (shop, off):
        for sample in served_pair(learner, 1, user=1, clicked=2):
            learner.learn_batch([sample])
        learner.metrics.settle_all()
    assert any(name.startswith("head_logloss") for name in shop.metrics.values())
    assert not any(name.startswith("head_") for name in off.metrics.values())
    assert not torch.equal(shop.model.heads.bias, off.model.heads.bias)
    assert not off.model.heads.bias.any()


def test_metrics_of_heads_survive_a_restart(shop: OnlineLearner) -> None:
    """An open list keeps what each head said of it."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    shop.learn_batch([impression])
    restored = OnlineLearner(APP, LearnerConfig(embedding_dim=8), labels=LABELS)
    restored.restore(shop.state())
    for learner in (shop, restored):
        learner.learn_batch([feedback(correction, "c", click=1.0)])
        learner.metrics.settle_all()
    values = shop.metrics.values()
    assert values == restored.metrics.values()
    assert "head_auc[click]" in values
    assert np.isfinite(values["head_ece[dismiss]"])


def test_a_model_of_other_heads_is_refused(shop: OnlineLearner, tmp_path: Path) -> None:
    """Dense weights say how many heads there are."""
    dense = shop.model.dense()
    assert Model.from_dense(dense).heads.num_heads == 3
    rows = np.zeros((2, shop.num_inputs), dtype=np.float32)
    assert np.array_equal(Model.from_dense(dense).head_chances(rows), shop.model.head_chances(rows))
    dense["heads.scale"] = dense["heads.scale"][:2]
    with pytest.raises(Exception, match="do not fit"):
        Model.from_dense(dense)


def test_unknown_heads_of_a_sample_teach_the_ranker_only(shop: OnlineLearner) -> None:
    """A head that is not declared any more is still evidence for its item."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    shop.learn_batch([impression])
    shop.learn_batch([feedback(correction, "c", formerly=1.0)])
    assert told(shop)[1] == []
    assert shop.ranker.recent[1].labels.sum() == 1.0


@pytest.mark.parametrize("batches", [[[1], [0]], [[0], [1]], [[0, 1]], [[0, 1, 2]], [[0], [1, 2]]])
def test_a_settled_list_is_judged_with_all_that_happened(shop: OnlineLearner, batches: list[list[int]]) -> None:
    """Whatever the order of list, click and dismissal, and however they meet in a micro-batch."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    stream = [impression, feedback(correction, "c", click=1.0), feedback(correction, "d", dismiss=0.0)]
    for batch in batches:
        shop.learn_batch([stream[number] for number in batch])
    (shown,) = shop.metrics.settling.settled(now_ms=1 << 60)
    assert shown.head_labels.sum(axis=0).tolist() == [1, int(any(2 in batch for batch in batches)), 0]


def test_the_user_cap_bounds_what_a_head_without_weight_learns() -> None:
    """Its label counts as 1: else one account could write into the shared layers without end."""
    config = LearnerConfig(embedding_dim=8, user_weight_cap=3)
    learner = OnlineLearner(APP, config, labels=LABELS)
    for number in range(10):
        impression, correction = served_pair(learner, number, user=1, clicked=2)
        view = msgspec.structs.replace(correction, action="view", outcome=0)
        learner.learn_batch([impression, feedback(view, f"v{number}", dwell=1.0)])
    learnt = sum(int((batch.head_labels[:, DWELL] == 1).sum()) for batch in learner.ranker.recent)
    assert 1 <= learnt <= 2
    assert learner.progress.capped == 17
