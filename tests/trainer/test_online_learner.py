"""The laws of learning from a stream: predict first, learn once, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from features.config import ActionConfig, AppConfig
from features.label_config import HeadConfig, LabelsConfig, resolve_labels
from tests.trainer.conftest import organic, sample_stream, served_pair
from trainer import online_learner
from trainer.config import LearnerConfig
from trainer.loss import CHANGED_LABEL, FIRST_LABEL, TRUSTED_LABEL
from trainer.online_learner import OnlineLearner
from trainer.ranker_learner import ListBatch
from trainer.samples import Sample


def _weights(learner: OnlineLearner) -> dict[str, Any]:
    state = learner.state().arrays
    return {name: array for name, array in state.items() if name.startswith(("model/", "tower/", "ranker/"))}


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_prediction_comes_strictly_before_learning(
    app: AppConfig, config: LearnerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured is what the weights before the batch said; learning first measures something else."""
    measured: list[NDArray[np.float32]] = []
    monkeypatch.setattr(
        online_learner, "measure_lists", lambda _metrics, _lists, logits, *_rest: measured.extend(logits)
    )

    class LearnsFirst(OnlineLearner):
        def _predict(self, lists: Any) -> Any:
            self._learn(lists, super()._predict(lists), [])
            return super()._predict(lists)

    honest, cheating = OnlineLearner(app, config), LearnsFirst(app, config)
    pair = served_pair(honest, 1, user=1, clicked=2)
    expected = honest.model.rank(np.array([item.row for item in pair[0].items], dtype=np.float32))
    honest.learn_batch(pair)
    cheating.learn_batch(pair)
    assert sorted(measured[0].tolist()) == sorted(expected.tolist())
    assert sorted(measured[1].tolist()) != sorted(expected.tolist())


def test_list_of_an_event_is_built_before_the_event_is_counted(learner: OnlineLearner) -> None:
    """No look-ahead inside a micro-batch: an item nobody had an event with yet cannot be found."""
    learner.learn_batch([organic(0, user=1, item=1), organic(1, user=1, item=2)])
    assert learner.metrics.values()["candidate_recall"] == 0.0
    learner.learn_batch([organic(2, user=2, item=1), organic(3, user=2, item=2)])
    assert learner.metrics.values()["candidate_recall"] > 0.0


def test_replayed_samples_change_nothing(learner: OnlineLearner) -> None:
    """At-least-once delivery: the whole stream again leaves weights, tables and events as they are."""
    stream = sample_stream(learner, 60)
    for start in range(0, len(stream), 12):
        learner.learn_batch(stream[start : start + 12])
    before, events = _weights(learner), learner.progress.events
    learner.learn_batch(stream)
    assert learner.progress.events == events
    assert _same({k: v for k, v in _weights(learner).items() if k.startswith("model/")}, _models(before))


def _models(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: array for name, array in weights.items() if name.startswith("model/")}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_impression_and_correction_are_learnt_once_in_any_order(learner: OnlineLearner, order: Sequence[int]) -> None:
    """Four negatives and one positive, each with weight once, whichever came first, in one batch or in two."""
    pair = served_pair(learner, 1, user=1, clicked=2)
    weights = _learnt_weights(learner, [[pair[order[0]]], [pair[order[1]]], list(pair)])
    assert weights[(1.0, 1)] == 1
    assert weights[(1.0, 0)] == 5 if order == (0, 1) else weights[(1.0, 0)] in {4, 5}


@pytest.mark.parametrize("clicked_first", [True, False])
def test_a_waited_impression_teaches_no_negative_of_what_is_known_to_be_wanted(
    learner: OnlineLearner, clicked_first: bool
) -> None:
    """Under `wait` the positive comes first; where it came after the window its item was a negative before."""
    pair = [msgspec.structs.replace(sample, label_policy="wait") for sample in served_pair(learner, 1, 1, clicked=2)]
    batches = [[sample] for sample in (reversed(pair) if clicked_first else pair)]
    assert _learnt_weights(learner, batches) == {(1.0, 1): 1, (1.0, 0): 4 if clicked_first else 5}


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [("immediate", [FIRST_LABEL, CHANGED_LABEL]), ("", [FIRST_LABEL, CHANGED_LABEL]), ("wait", [TRUSTED_LABEL] * 2)],
)
def test_only_labels_made_at_once_are_corrected_for_fake_negatives(
    learner: OnlineLearner, policy: str, kinds: list[int]
) -> None:
    """A shown item is a first word, its later positive a change; samples that say no policy were made at once."""
    for sample in served_pair(learner, 1, user=1, clicked=2):
        learner.learn_batch([msgspec.structs.replace(sample, label_policy=policy)])
    assert [_kinds(batch) for batch in learner.ranker.recent] == [{kind} for kind in kinds]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_positive_that_was_never_a_negative_is_a_first_word(learner: OnlineLearner, order: Sequence[int]) -> None:
    """Merged in one batch, its negative was not learnt: there is nothing to make up for."""
    pair = served_pair(learner, 1, user=1, clicked=2)
    learner.learn_batch([pair[number] for number in order])
    assert _kinds(learner.ranker.recent[0]) == {FIRST_LABEL}


def _kinds(batch: ListBatch) -> set[int]:
    return {int(kind) for kind, weight in zip(batch.kinds, batch.weights, strict=True) if weight}


def test_impression_and_correction_in_one_batch_are_one_list(learner: OnlineLearner) -> None:
    """Merged first: the clicked item is a positive and never a negative."""
    weights = _learnt_weights(learner, [served_pair(learner, 1, user=1, clicked=2)])
    assert weights == {(1.0, 1): 1, (1.0, 0): 4}


def _learnt_weights(learner: OnlineLearner, batches: Sequence[Sequence[Sample]]) -> dict[tuple[float, int], int]:
    """Learn batches and count the BCE terms taken as (weight, label)."""
    counts: dict[tuple[float, int], int] = {}
    for batch in batches:
        learner.learn_batch(batch)
    for learnt in learner.ranker.recent:
        for weight, label in zip(learnt.weights.tolist(), learnt.labels.tolist(), strict=True):
            if weight:
                counts[(weight, int(label))] = counts.get((weight, int(label)), 0) + 1
    return counts


def _feedback(correction: Sample, event_id: str, action: str, labels: dict[str, float | None]) -> Sample:
    """Another event on the item of a correction."""
    first = msgspec.structs.replace(correction.items[0], labels=labels)
    items = [first, *correction.items[1:]]
    return msgspec.structs.replace(correction, sample_id=event_id, event_id=event_id, action=action, items=items)


@pytest.fixture
def shop() -> OnlineLearner:
    """A learner of an app with heads of its own."""
    actions = {"click": ActionConfig(outcome="positive"), "view": ActionConfig(), "dismiss": ActionConfig()}
    heads = {
        "click": HeadConfig(actions=("click",), weight=1),
        "dwell": HeadConfig(actions=("view",), when="value >= 30", weight=3),
        "gone": HeadConfig(actions=("dismiss",), value=0, weight=0.5),
    }
    app = AppConfig(actions=actions)
    return OnlineLearner(app, LearnerConfig(embedding_dim=8), labels=resolve_labels(LabelsConfig(heads=heads), app))


def test_every_head_is_learnt_once_with_its_weight(shop: OnlineLearner) -> None:
    """A click and a long view of one item are two positives; the same action twice is one."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    click = _feedback(correction, "e1", "click", {"click": 1.0})
    dwell = _feedback(correction, "e2", "view", {"dwell": 1.0})
    again = _feedback(correction, "e3", "click", {"click": 1.0})
    weights = _learnt_weights(shop, [[impression], [click], [dwell], [again]])
    assert weights == {(1.0, 0): 5, (1.0, 1): 1, (3.0, 1): 1}
    assert shop.progress.events == 3


def test_heads_of_one_batch_add_up(shop: OnlineLearner) -> None:
    """Two positives of one row weigh what both would."""
    _, correction = served_pair(shop, 1, user=1, clicked=2)
    click, dwell = (_feedback(correction, head, head, {head: 1.0}) for head in ("click", "dwell"))
    assert _learnt_weights(shop, [[click, dwell]]) == {(4.0, 1): 1}


def test_a_refusal_is_a_negative_of_its_own(shop: OnlineLearner) -> None:
    """What was shown is assumed to be unwanted; that it was dismissed is certain, and learnt beside it."""
    impression, correction = served_pair(shop, 1, user=1, clicked=2)
    dismissed = _feedback(correction, "e1", "dismiss", {"gone": 0.0})
    assert _learnt_weights(shop, [[impression], [dismissed]]) == {(1.0, 0): 5, (0.5, 0): 1}
    assert _kinds(shop.ranker.recent[1]) == {TRUSTED_LABEL}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_sides_in_one_batch_are_learnt_as_in_two(shop: OnlineLearner, order: Sequence[int]) -> None:
    """A click and a dismissal of one item: neither hides the other."""
    _, correction = served_pair(shop, 1, user=1, clicked=2)
    both = [_feedback(correction, "e1", "click", {"click": 1.0}), _feedback(correction, "e2", "dismiss", {"gone": 0.0})]
    assert _learnt_weights(shop, [[both[number] for number in order]]) == {(1.0, 1): 1, (0.5, 0): 1}


def test_an_organic_event_is_a_positive_where_a_head_says_so(shop: OnlineLearner) -> None:
    """A long view is neutral to the counters and wanted by the model; a short one is neither."""
    long, short = (msgspec.structs.replace(organic(n, 1, n, outcome=0), value=v) for n, v in ((0, 30.0), (1, 29.0)))
    steps = [shop.retrieval.frequency.last_step.size]
    for sample in (short, long):
        shop.learn_batch([sample])
        steps.append(shop.retrieval.frequency.last_step.size)
    assert steps == [0, 0, 2]


def test_neutral_feedback_feeds_the_counters_but_not_the_ranker(learner: OnlineLearner) -> None:
    """A view is an event of user and item; it labels nothing."""
    learner.learn_batch([organic(0, user=1, item=1, outcome=0)])
    assert learner.progress.events == 1
    assert not learner.ranker.recent
    assert learner.builder.items.row_of("i1") == 0


def test_impressions_feed_exposure_but_no_counters(learner: OnlineLearner) -> None:
    """Being shown is no event: lists count once, nobody becomes known by them, nothing becomes popular."""
    impression, _ = served_pair(learner, 1, user=1, clicked=2)
    learner.learn_batch([impression, impression])
    items, now_ms = learner.builder.items, impression.event_time_ms
    user = learner.builder.users.state("u1", now_ms)
    assert learner.progress.events == 0
    assert not items.counts(now_ms).any()
    assert not user.is_known
    assert not user.counts.any()
    assert not user.history_item_ids
    assert user.shown_item_ids == ("i0", "i1", "i2", "i3", "i4")
    assert items.exposures(now_ms)[:, 0].tolist() == [[1.0, 0.2, 0.0]] * 5


def test_positive_answer_to_a_list_is_a_list_click(learner: OnlineLearner) -> None:
    """Of the item that was clicked, once; an organic positive is none."""
    pair = served_pair(learner, 1, user=1, clicked=2)
    learner.learn_batch([*pair, pair[1], organic(9, user=1, item=3)])
    clicks = learner.builder.items.exposures(pair[1].event_time_ms)[:, 0, 2]
    assert clicks.tolist() == pytest.approx([0.0, 0.0, 1.0, 0.0, 0.0])


def test_list_of_no_use_was_shown_all_the_same(learner: OnlineLearner) -> None:
    """A fallback's list has no rows to learn from; what the user saw of it counts, as in the streams."""
    impression, _ = served_pair(learner, 1, user=1, clicked=2)
    learner.preparer.schema_hash = "another"
    learner.learn_batch([impression])
    assert learner.progress.refused == {"schema": 1}
    assert len(learner.builder.users.state("u1", impression.event_time_ms).shown_item_ids) == 5


def test_rows_of_another_schema_are_refused_and_counted(learner: OnlineLearner) -> None:
    """A sample whose rows mean something else is never learnt from."""
    impression, _ = served_pair(learner, 1, user=1, clicked=2)
    learner.preparer.schema_hash = "another"
    learner.learn_batch([impression])
    assert learner.progress.refused == {"schema": 1}
    assert not learner.ranker.recent


def test_event_counts_though_its_list_is_of_no_use(learner: OnlineLearner) -> None:
    """A fallback list has no rows; the click on it is still a click."""
    _, correction = served_pair(learner, 1, user=1, clicked=2)
    learner.preparer.schema_hash = "another"
    learner.learn_batch([correction])
    assert (learner.progress.refused, learner.progress.events) == ({"schema": 1}, 1)


def test_samples_of_one_request_that_differ_are_refused(learner: OnlineLearner) -> None:
    """A correction for an item outside the list is counted and harms nothing."""
    impression, correction = served_pair(learner, 1, user=1, clicked=2)
    stranger = msgspec.structs.replace(correction.items[0], item_id="stranger")
    learner.learn_batch([impression, msgspec.structs.replace(correction, items=[stranger, *correction.items])])
    assert learner.progress.refused == {"not_in_list": 1}


def test_non_finite_step_is_skipped_and_counted(learner: OnlineLearner) -> None:
    """A loss that runs away leaves the weights as they were."""
    impression, correction = served_pair(learner, 1, user=1, clicked=2)
    learner.learn_batch([impression])
    learner.model.ranker.skip_scale.data.fill_(np.inf)
    before = {name: parameter.clone() for name, parameter in learner.model.ranker.named_parameters()}
    learner.ranker.recent.clear()
    with np.errstate(all="ignore"):
        learner.learn_batch([correction])
    assert learner.progress.non_finite_steps == 1
    assert all(before[name].equal(parameter) for name, parameter in learner.model.ranker.named_parameters())


def test_seeded_runs_are_equal(app: AppConfig, config: LearnerConfig) -> None:
    """Two learners fed alike are alike, bit for bit."""
    learners = [OnlineLearner(app, config), OnlineLearner(app, config)]
    for learner in learners:
        stream = sample_stream(learner, 50)
        for start in range(0, len(stream), 10):
            learner.learn_batch(stream[start : start + 10])
    assert _same(_weights(learners[0]), _weights(learners[1]))


def test_learning_raises_the_score_of_what_is_clicked(app: AppConfig) -> None:
    """Where a row's first number tells what is clicked, the ranker finds it out."""
    learner = OnlineLearner(app, LearnerConfig(learning_rate=0.01))
    for index in range(150):
        impression, _ = served_pair(learner, index, user=index % 7, clicked=0)
        rows = np.array([item.row for item in impression.items])
        learner.learn_batch(served_pair(learner, index, user=index % 7, clicked=int(rows[:, 0].argmax())))
    assert learner.metrics.values()["served_list_auc_overall"] > 0.75


def test_drift_raises_the_rate_of_what_ranks(learner: OnlineLearner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranker learns faster behind an alarm, then as before; rows would be spoilt for good by a false one."""
    monkeypatch.setattr(learner.drift, "rate_factor", lambda step: 3.0 if step == 1 else 1.0)
    wanted = learner.config.learning_rate, learner.config.embedding_learning_rate
    for factor, batch in ((3.0, sample_stream(learner, 40)), (1.0, sample_stream(learner, 40, seed=2))):
        learner.learn_batch(batch)
        assert learner.ranker.optimizer.learning_rate == factor * wanted[0]
        assert learner.weights.tower.optimizer.learning_rate == wanted[0]
        assert learner.weights.tower.item_rows.learning_rate == wanted[1]


def test_drift_sees_every_micro_batch_before_it_is_learnt(
    learner: OnlineLearner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mean loss and the share of positives among the events."""
    learner.learn_batch(sample_stream(learner, 40))
    seen: list[tuple[float, float, int]] = []
    monkeypatch.setattr(learner.drift, "observe", lambda *figures: seen.append(figures))
    learner.learn_batch([organic(90, 99, 1, 1), organic(91, 99, 2, 0), organic(92, 99, 3, 1)])
    [(loss, rate, step)] = seen
    assert loss > 0.0
    assert (rate, step) == (2 / 3, 2)
