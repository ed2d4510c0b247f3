"""What a feature record becomes."""

from __future__ import annotations

import json

import pytest

from features.config import FeaturesConfig
from features.errors import BadRowError
from features.feature_topics import FEATURE_TOPICS, TOPIC_BY_VIEW
from tests.features.feature_records import NOW_MS, category_value, counter_value, counts, decoded, history_value


def test_counters_lie_seven_numbers_a_half_life() -> None:
    """Newest epoch, its sums, the sums of the epoch before; in whatever order they came."""
    row = {"counters": [counts(1, 4, 2.0), counts(0, 6, 1.0), counts(0, 7, 3.0, 2.0, 1.0)], "event_time_ms": NOW_MS}
    fields = decoded("item_counters", "i1", json.dumps(row).encode()).fields
    numbers = fields["item_counters"]
    assert isinstance(numbers, list)
    assert numbers[:14] == [7, 3.0, 2.0, 1.0, 1.0, 0.0, 0.0, 4, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert len(numbers) == 7 * len(FeaturesConfig().half_lives_s)


def test_history_is_newest_first_whatever_came_first() -> None:
    """Time decides, then the event id."""
    value = history_value("u1", [("a", 5, "e1"), ("b", 9, "e1"), ("c", 9, "e2")])
    fields = decoded("user_history", "u1", value).fields
    assert fields["user_history_item_ids"] == ["c", "b", "a"]
    assert fields["user_history_times_ms"] == [9, 9, 5]


def test_consumed_items_carry_their_newest_time() -> None:
    """An item clicked twice counts as consumed at the later click."""
    row = decoded("user_history", "u1", history_value("u1", [("a", 5, "e1"), ("a", 9, "e2"), ("b", 7, "e3")]))
    assert row.consumed == {"a": 9, "b": 7}


def test_categories_stand_newest_epoch_and_largest_count_first() -> None:
    """The order and the cut do not depend on the order of arrival."""
    entries = [("old", 3, 99.0), ("small", 4, 1.0), ("large", 4, 5.0), ("large", 3, 2.0)]
    fields = [
        decoded("user_categories", "u1", category_value("u1", order)).fields for order in (entries, entries[::-1])
    ]
    assert fields[0] == fields[1]
    assert fields[0]["user_category_names"] == ["large", "small", "old"]
    assert (
        fields[0]["user_category_counts"] == [4, 5.0, 0, 0, 2.0, 0, 0] + [4, 1.0, 0, 0, 0, 0, 0] + [3, 99.0] + [0] * 5
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"u1", b"{"),
        (b"u1", b"\xff"),
        (b"u1", b"{}"),
        (b"u1", b'{"counters": [{"half_life": 0}], "event_time_ms": 1}'),
        (b"u1", b'{"counters": [], "event_time_ms": 9223372036854775808}'),
        (b"u1", b'{"counters": [], "event_time_ms": "soon"}'),
        (b"u1", counter_value("someone-else", 1.0)),
        (b"", counter_value("", 1.0)),
        (None, counter_value("", 1.0)),
        (b"\xff", counter_value("", 1.0)),
        (b"x" * 129, counter_value("", 1.0)),
    ],
)
def test_what_is_no_row_is_refused(key: bytes | None, value: bytes) -> None:
    """Every kind of damage is one error, so that one record never stops the ingester."""
    with pytest.raises(BadRowError):
        TOPIC_BY_VIEW["user_counters"].decode(key, value, NOW_MS, FeaturesConfig())


@pytest.mark.parametrize("topic", FEATURE_TOPICS, ids=lambda topic: topic.view)
def test_a_deleted_row_has_every_field_missing(topic: object) -> None:
    """A null value names all fields, so that none keeps its old value."""
    view = getattr(topic, "view", "")
    assert decoded(view, "x", None).fields == dict.fromkeys(TOPIC_BY_VIEW[view].fields)
