"""Ratings are predicted before they are learnt, by action, and learn what users think."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from features.config import ActionConfig, AppConfig
from tests.trainer.conftest import START_MS
from trainer.rating_learner import RatingLearner
from trainer.samples import Event

CATEGORIES = np.array([-1, -1])
APP = AppConfig(
    name="test",
    actions={
        "rate": ActionConfig(positive_when="value >= 4"),
        "dwell": ActionConfig(positive_when="value >= 30"),
        "view": ActionConfig(),
    },
)


def rating(number: int, user: int, item: int, value: float | None, action: str = "rate") -> Event:
    """An event that brings a value."""
    return Event(f"e{number}", f"u{user}", f"i{item}", action, 0, START_MS + 1000 * number, value)


def learn(
    learner: RatingLearner, events: list[Event], is_held: bool = False
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Learn micro-batches of 8; return all predictions."""
    found = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(events), 8):
        for event in events[start : start + 8]:
            learner.add(event, int(event.item_id[1:]), CATEGORIES, is_held, is_scored=True)
        found += [learnt.chances for learnt in learner.learn_batch(start, 1.0)]
    return np.concatenate(found)


def tastes(size: int, seed: int = 1) -> list[Event]:
    """Users of two kinds who like the items of their own kind."""
    random = np.random.default_rng(seed)
    pairs = random.integers(12, size=(size, 2)).tolist()
    return [rating(n, user, item, 5.0 if user % 2 == item % 2 else 1.0) for n, (user, item) in enumerate(pairs)]


def test_a_prediction_knows_nothing_of_its_own_batch() -> None:
    """The same events with other values are predicted alike, until the first of them is learnt."""
    events = tastes(8)
    turned = [msgspec.structs.replace(event, value=6.0 - (event.value or 0.0)) for event in events]
    first = learn(RatingLearner(APP, 3), events[:1])
    assert first == learn(RatingLearner(APP, 3), turned[:1]) == [0.5]
    learner = RatingLearner(APP, 3)
    learn(learner, tastes(80))
    announced = [learner.predict(event, int(event.item_id[1:]), CATEGORIES) for event in events[:1]]
    assert announced == learn(learner, events[:1]).tolist()


def test_a_new_user_is_predicted_by_one_rule() -> None:
    """What is told without learning is what will be measured, for users nobody knows, too."""
    learner = RatingLearner(APP, 3)
    learn(learner, tastes(80))
    event = rating(500, user=99, item=3, value=5.0)
    assert [learner.predict(event, 3, CATEGORIES)] == learn(learner, [event]).tolist()


def test_it_learns_who_likes_what() -> None:
    """After a while the two kinds of pairs are told apart."""
    events = tastes(1600)
    chances = learn(RatingLearner(APP, 3), events)[-500:]
    wanted = np.array([event.value == 5.0 for event in events[-500:]])
    assert chances[wanted].mean() > 0.9
    assert chances[~wanted].mean() < 0.1


def test_what_is_held_teaches_no_weights() -> None:
    """It counts: sums move, head and factors do not."""
    learner = RatingLearner(APP, 3)
    before = learner.arrays()
    learn(learner, tastes(40), is_held=True)
    moved = {name for name, array in learner.arrays().items() if not np.array_equal(array, before[name])}
    assert moved == {f"rate/tables.{part}" for part in ("world", "users", "items", "last_ms")}


def test_a_large_batch_is_learnt_in_steps_of_sixteen() -> None:
    """Its later events are predicted by what its earlier ones taught, as if they had come in batches of their own."""
    events = tastes(40)
    at_once, in_turn = RatingLearner(APP, 3), RatingLearner(APP, 3)
    for event in events[:32]:
        at_once.add(event, int(event.item_id[1:]), CATEGORIES, is_held=False, is_scored=True)
    [whole] = at_once.learn_batch(1, 1.0)
    found = []
    for start in (0, 16):
        for event in events[start : start + 16]:
            in_turn.add(event, int(event.item_id[1:]), CATEGORIES, is_held=False, is_scored=True)
        found += [learnt.chances for learnt in in_turn.learn_batch(1, 1.0)]
    assert whole.chances.tolist() == np.concatenate(found).tolist()
    assert len(whole.outcomes) == 2


def test_a_step_that_is_not_finite_is_refused() -> None:
    """With its batch, and the weights stay."""
    learner = RatingLearner(APP, 3)
    learn(learner, tastes(80))
    before = learner.arrays()
    learner.actions["rate"]._tables._tables.users[:] = np.nan  # What no event can do.
    learner.add(rating(9, 1, 1, 5.0), 1, CATEGORIES, is_held=False, is_scored=True)
    [learnt] = learner.learn_batch(99, 1.0)
    assert "loss is nan" in learnt.outcomes[0].refusal
    assert set(learnt.outcomes[0].batch) == {"inputs", "labels"}
    assert np.array_equal(learner.arrays()["rate/head.linear.weight"], before["rate/head.linear.weight"])


def test_actions_have_models_of_their_own() -> None:
    """Seconds of dwell and stars do not mix, and what brings no value is passed over."""
    learner = RatingLearner(APP, 3)
    before = learner.arrays()
    events = [rating(1, 1, 1, 300.0, "dwell"), rating(2, 1, 1, None), rating(3, 1, 1, 2.0, "view")]
    assert len(learn(learner, events)) == 1
    moved = {name for name, a in learner.arrays().items() if name not in before or not np.array_equal(a, before[name])}
    assert {name.split("/")[0] for name in moved} == {"dwell"}


def test_each_event_of_a_batch_is_counted_before_the_next() -> None:
    """The second event of a user knows the first, though both are learnt in one step."""
    learner = RatingLearner(APP, 3)
    learn(learner, tastes(80))
    [model] = [model for action, model in learner.actions.items() if action == "rate"]
    events = [rating(500, user=1, item=3, value=5.0), rating(501, user=1, item=4, value=1.0)]
    alone = model.inputs("u1", 4, CATEGORIES, events[1].event_time_ms)
    for event in events:
        learner.add(event, int(event.item_id[1:]), CATEGORIES, is_held=False, is_scored=True)
    learner.learn_batch(9, 1.0)
    together = model._kept_inputs[model._num_kept - 1]
    assert together[0] > alone[0] + 0.01


@pytest.mark.parametrize("cut", [0, 8, 200])
def test_a_restored_learner_goes_on_alike(cut: int) -> None:
    """Bit for bit."""
    events = tastes(400)
    straight, first, second = (RatingLearner(APP, 3) for _ in range(3))
    expected = learn(straight, events)
    learn(first, events[:cut])
    second.restore(first.names(), first.arrays())
    steps = [np.zeros(0, dtype=np.float32)]
    for start in range(cut, len(events), 8):
        for event in events[start : start + 8]:
            second.add(event, int(event.item_id[1:]), CATEGORIES, is_held=False, is_scored=True)
        steps += [learnt.chances for learnt in second.learn_batch(start, 1.0)]
    np.testing.assert_array_equal(np.concatenate(steps), expected[cut:])
    for name, array in straight.arrays().items():
        np.testing.assert_array_equal(second.arrays()[name], array)
