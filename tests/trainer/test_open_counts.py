"""Events counted together leave what events counted one by one leave, and what lists share outlives a checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from features.config import AppConfig
from tests.trainer.conftest import START_MS, organic, served_pair
from trainer.config import LearnerConfig
from trainer.learner_state import LearnerState
from trainer.list_builder import ListBuilder
from trainer.online_learner import OnlineLearner
from trainer.samples import Event, Sample

ITEMS = 600
"""So many that what lists share may be 12 ms or events old."""


def batches(learner: OnlineLearner, first: int, count: int) -> Iterator[list[Sample]]:
    """Yield micro-batches of a seeded stream: views, likes, dislikes, lists with a click; a millisecond apart."""
    random = np.random.default_rng(first)
    for number in range(first, first + count):
        samples = []
        for index in range(8 * number, 8 * number + 8):
            user, item = int(random.integers(12)), int(random.integers(ITEMS))
            event = organic(index, user, item, outcome=int(random.choice([0, 0, 1, -1])))
            samples.append(msgspec.structs.replace(event, event_time_ms=START_MS + index))
        yield [*samples, *served_pair(learner, number, user=1, clicked=2)]


def taught(app: AppConfig, config: LearnerConfig) -> OnlineLearner:
    """Return a learner that knows its catalogue."""
    learner = OnlineLearner(app, config)
    for number in range(ITEMS):
        learner.builder.set_item(f"i{number}", f"title {number % 7}", [f"c{number % 3}"])
    return learner


def differing(first: LearnerState, second: LearnerState) -> list[str]:
    """Return what differs between two states."""
    arrays = [name for name in first.arrays | second.arrays if not _same(first, second, name)]
    beside = ("names", "progress", "metrics")
    return arrays + [part for part in beside if getattr(first, part) != getattr(second, part)]


def _same(first: LearnerState, second: LearnerState, name: str) -> bool:
    return np.array_equal(first.arrays[name], second.arrays[name])


def learn(learner: OnlineLearner, stream: Sequence[list[Sample]]) -> OnlineLearner:
    """Learn all of a stream."""
    for batch in stream:
        learner.learn_batch(batch)
    return learner


def test_events_counted_together_are_learnt_as_events_counted_one_by_one(
    app: AppConfig, config: LearnerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, over views, positives, negatives and feedback to lists."""
    together, alone = taught(app, config), taught(app, config)
    stream = list(batches(together, 0, 12))
    learn(together, stream)
    count_event = ListBuilder.count_event

    def count_and_settle(builder: ListBuilder, event: Event) -> None:
        count_event(builder, event)
        builder.settle()

    monkeypatch.setattr(ListBuilder, "count_event", count_and_settle)
    assert differing(together.state(), learn(alone, stream).state()) == []


def test_what_lists_share_is_learnt_on_alike_behind_a_checkpoint(app: AppConfig, config: LearnerConfig) -> None:
    """Sums over all items are as old after a restart as without one; a checkpoint renews nothing."""
    straight = taught(app, config)
    stream = list(batches(straight, 0, 12))
    for stop in range(5, 8):
        stopped = learn(taught(app, config), stream[:stop])
        resumed = OnlineLearner(app, config)
        resumed.restore(stopped.state())
        learn(resumed, stream[stop:])
        learn(stopped, stream[stop:])
        assert differing(stopped.state(), resumed.state()) == []


def test_a_checkpoint_of_before_that_holds_nothing_of_what_lists_share_is_learnt_on(
    app: AppConfig, config: LearnerConfig
) -> None:
    """What lists share is made anew from the tables, and item vectors from the towers; nothing else is another."""
    stopped = taught(app, config)
    stream = list(batches(stopped, 0, 8))
    state = learn(stopped, stream[:5]).state()
    renamed = {"tower/positives_since_refresh": "tower/samples_since_refresh"}
    arrays = {renamed.get(name, name): array for name, array in state.arrays.items() if not name.startswith("lists/")}
    assert len(arrays) < len(state.arrays)
    resumed = OnlineLearner(app, config)
    resumed.restore(replace(state, arrays=arrays))
    assert resumed.builder.arrays() == {}
    learn(resumed, stream[5:])
    assert resumed.progress.events == learn(stopped, stream[5:]).progress.events
    assert int(resumed.builder.arrays()["now_ms"][0]) > START_MS


def test_a_user_is_forgotten_with_events_that_are_not_counted_yet(app: AppConfig, config: LearnerConfig) -> None:
    """Else their counters would be filled again under the name of nobody."""
    learner = taught(app, config)
    learner.builder.count_event(Event("e", "u", "i1", "", 1, START_MS))
    learner.forget_user("u")
    learner.builder.settle()
    assert not learner.builder.users.arrays()["counters.sums"].any()
    assert not learner.builder.users.arrays()["category_counters.sums"].any()


def test_what_lists_share_is_renewed_after_as_many_events_as_the_catalogue_allows(
    app: AppConfig, config: LearnerConfig
) -> None:
    """Of 600 items every 12 events or milliseconds, so that a pass over all is not paid for by every micro-batch."""
    learner = taught(app, config)
    made_ms = []
    for batch in batches(learner, 0, 12):
        learner.learn_batch(batch)
        made_ms.append(int(learner.builder.arrays()["now_ms"][0]))
    gaps = [later - earlier for earlier, later in itertools.pairwise(dict.fromkeys(made_ms))]
    assert 1 < len(gaps) + 1 < len(made_ms)
    assert min(gaps) >= 8


def test_an_item_that_is_withdrawn_leaves_the_lists_at_once(app: AppConfig, config: LearnerConfig) -> None:
    """Whether an item may be shown does not wait until sums over all items are due."""
    builder = learn(taught(app, config), list(batches(taught(app, config), 0, 2))).builder
    moment = builder.moment("u1", START_MS + 16)
    row = int(builder.build(moment, None, START_MS + 16).rows[0])
    builder.set_item(builder.items.item_ids[row], is_available=False)
    builder.begin_batch()
    assert row not in builder.build(moment, None, START_MS + 16).rows
