"""What an event does to the tables that lists are built from."""

from __future__ import annotations

import pytest

from features.config import NEGATIVE, NEUTRAL, POSITIVE, FeaturesConfig
from features.count_tables import BACKWARD_PAIRS
from tests.trainer.conftest import START_MS
from trainer.list_builder import ListBuilder
from trainer.samples import Event


def builder_of(*outcomes: int) -> ListBuilder:
    """One user with one event an outcome, each with an item of its own: rows 0, 1 and so on."""
    builder = ListBuilder(FeaturesConfig())
    for number, outcome in enumerate(outcomes):
        builder.count_event(Event(f"e{number}", "u", f"i{number}", "rating", outcome, START_MS + number))
    builder.settle()
    return builder


@pytest.mark.parametrize("outcome", [POSITIVE, NEUTRAL])
def test_what_a_user_did_next_goes_with_what_came_before(outcome: int) -> None:
    """Liked or not: people who know one thing come to know the other."""
    pairs = builder_of(NEUTRAL, outcome).counts.pairs
    assert pairs.similar(0, 2).tolist() == [0.0, 1.0]
    assert pairs.similar(1, 2).tolist() == [BACKWARD_PAIRS, 0.0]


def test_what_a_user_refused_goes_with_nothing_before_it() -> None:
    """A dismissal says nothing of what fits; what comes behind it is paired as behind any event."""
    counts = builder_of(POSITIVE, NEGATIVE, POSITIVE).counts
    assert counts.pairs.similar(0, 3).tolist() == [0.0, 0.0, 1.0]
    assert counts.successors.totals[:3].tolist() == [0.0, 1.0, 0.0]
