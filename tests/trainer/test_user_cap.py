"""No user teaches more than the cap in a window, however many events, lists, repetitions or dates it takes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from features.config import AppConfig
from tests.trainer.conftest import START_MS, sample_stream, served_pair
from trainer.config import LearnerConfig
from trainer.online_learner import OnlineLearner
from trainer.samples import Sample
from trainer.user_cap import UserCap

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


def cap_of(cap: float = 3.0, limit: int = 100) -> UserCap:
    """A cap a user and hour."""
    return UserCap(cap, 3600.0, _DAY_MS, limit)


def admitted(cap: UserCap, weights: list[float], time_ms: int = START_MS, user: str = "u") -> list[bool]:
    """Ask for some weights one after the other."""
    return [cap.admits(user, weight, time_ms, time_ms) for weight in weights]


def test_weight_up_to_the_cap_is_admitted_and_a_later_one_that_fits_too() -> None:
    """All or nothing, a sample at a time."""
    assert admitted(cap_of(), [1.0, 1.5, 1.0, 0.5, 0.1]) == [True, True, False, True, False]


def test_first_of_a_window_always_fits_and_windows_begin_anew() -> None:
    """A purchase that weighs more than the cap is learnt once an hour."""
    cap = cap_of()
    assert admitted(cap, [5.0, 5.0]) == [True, False]
    assert admitted(cap, [5.0], START_MS + _HOUR_MS) == [True]
    assert admitted(cap, [5.0], user="other") == [True]


def test_burst_cannot_be_spread_by_dating_events_back() -> None:
    """Within the streams' horizon the broker's time decides; real history has windows of its own."""
    cap = cap_of()
    back = [cap.admits("u", 1.0, START_MS - hour * _HOUR_MS, START_MS) for hour in range(20)]
    assert back.count(True) == 3
    history = [cap.admits("u", 1.0, START_MS - day * _DAY_MS, START_MS) for day in range(2, 22)]
    assert all(history)


def test_memory_is_bounded_and_survives() -> None:
    """The user who taught longest ago is forgotten; what `arrays` holds is all."""
    cap, other = cap_of(limit=3), cap_of(limit=3)
    for user in "abacd":
        admitted(cap, [3.0], user=user)
    other.restore(cap.arrays())
    assert len(other) == 3
    for each in (cap, other):
        assert admitted(each, [1.0], user="a") == [False]
        assert admitted(each, [1.0], user="b") == [True]


@pytest.mark.parametrize("kind", ["served", "organic"])
def test_bot_with_a_third_of_the_positives_moves_an_item_no_further_than_its_cap(
    app: AppConfig, config: LearnerConfig, kind: str
) -> None:
    """30 % of a window's positives by one user: what is learnt is what the same user teaches who stops at the cap."""
    base = config.model_copy(update={"replay_rows": 0})
    loud, modest, off = (learner_of(app, base, cap) for cap in (8.0, 8.0, 0.0))
    people = [sample for index in range(70) for sample in served_pair(loud, index, user=index % 35, clicked=index % 4)]
    bot = bot_samples(loud, kind, 30)
    for learner, taught in ((loud, bot), (modest, bot[:8]), (off, bot)):
        learner.learn_batch(people)
        for sample in taught:
            learner.learn_batch([sample])
    assert loud.progress.capped == len(bot) - 8
    (start := learner_of(app, base, 8.0)).learn_batch(people)
    loudly, modestly, freely = (
        float(np.linalg.norm(score_of(learner, kind) - score_of(start, kind))) for learner in (loud, modest, off)
    )
    assert loudly <= 1.001 * modestly
    assert freely > 1.1 * loudly


def learner_of(app: AppConfig, config: LearnerConfig, cap: float) -> OnlineLearner:
    """A learner with a cap."""
    return OnlineLearner(app, config.model_copy(update={"user_weight_cap": cap, "user_weight_window_s": 7200.0}))


def bot_samples(learner: OnlineLearner, kind: str, size: int) -> list[Sample]:
    """One user who wants `i4` again and again."""
    pairs = [served_pair(learner, 1000 + index, user=99, clicked=4) for index in range(size)]
    found = [correction for _, correction in pairs]
    fixed: dict[str, Any] = {"event_time_ms": START_MS + 10_000, "broker_time_ms": START_MS + 10_000}
    if kind == "organic":
        fixed |= {"kind": "organic", "request_id": "", "served_time_ms": 0}
        return [msgspec.structs.replace(sample, items=sample.items[:1], **fixed) for sample in found]
    return [msgspec.structs.replace(sample, **fixed) for sample in found]


def score_of(learner: OnlineLearner, kind: str) -> NDArray[np.float32]:
    """What the weights say of `i4`: the ranker's score on the bot's row of it, or its vector for retrieval."""
    if kind == "organic":
        vectors: NDArray[np.float32] = learner.retrieval.item_vectors()
        row: NDArray[np.float32] = vectors[learner.builder.items.row_of("i4")]
        return row
    _, correction = served_pair(learner, 1000, user=99, clicked=4)
    return learner.ranker.predict(np.array([correction.items[0].row], dtype=np.float32))


def test_repeated_sample_of_a_capped_user_teaches_nothing_later_either(app: AppConfig, config: LearnerConfig) -> None:
    """What was passed over is known: the same sample in the next window, with room again, is a duplicate."""
    learner = learner_of(app, config, 2.0)
    bot = bot_samples(learner, "served", 5)
    learner.learn_batch(bot)
    assert learner.progress.capped == 3
    taught = learner.progress.step
    late = [msgspec.structs.replace(sample, broker_time_ms=START_MS + 3 * _HOUR_MS) for sample in bot]
    before = {name: array.copy() for name, array in learner.model.dense().items()}
    learner.ranker.recent.clear()
    learner.learn_batch(late)
    assert (learner.progress.duplicates, learner.progress.step) == (5, taught + 1)
    assert all(np.array_equal(before[name], array) for name, array in learner.model.dense().items())


def test_people_never_meet_the_shipped_cap(app: AppConfig, config: LearnerConfig) -> None:
    """A stream of a dozen users learns bit for bit as without a cap."""
    capped, free = learner_of(app, config, 1000.0), learner_of(app, config, 0.0)
    for learner in (capped, free):
        learner.learn_batch(sample_stream(learner, 100))
    assert capped.progress == free.progress
    pairs = zip(capped.model.dense().values(), free.model.dense().values(), strict=True)
    assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)
