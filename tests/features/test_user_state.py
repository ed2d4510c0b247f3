"""A user's history is a set in time order, whatever the arrival."""

from __future__ import annotations

import itertools

from features.config import FeaturesConfig
from features.user_state import UserTable

NOW_MS = 1_700_000_000_000


def test_history_is_the_newest_by_time_and_id_in_any_arrival_order() -> None:
    """All 24 arrival orders of four events give the same three newest."""
    events = [("a", 1, "e1"), ("b", 2, "e2"), ("c", 2, "e3"), ("d", 3, "e0")]
    for order in itertools.permutations(events):
        users = UserTable(FeaturesConfig(history_length=3))
        for item_id, offset, event_id in order:
            users.add_event("u", item_id, [], NOW_MS + offset, event_id, 0)
        assert users.state("u", NOW_MS + 9).history_item_ids == ("d", "c", "b")


def test_consumed_items_are_bounded_by_the_oldest() -> None:
    """The cap drops what was consumed longest ago."""
    users = UserTable(FeaturesConfig(consumed_limit=2))
    for offset, item_id in enumerate("abc"):
        users.add_event("u", item_id, [], NOW_MS + offset, item_id, 0)
    assert set(users.state("u", NOW_MS).consumed) == {"b", "c"}


def test_an_unknown_user_is_cold() -> None:
    """No rows are made by asking."""
    state = UserTable(FeaturesConfig()).state("nobody", NOW_MS)
    assert not state.is_known
    assert state.counts.sum() == 0.0
