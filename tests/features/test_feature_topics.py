"""What a feature record becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from features.config import FeaturesConfig
from features.errors import BadRowError
from features.feature_topics import FEATURE_TOPICS, TOPIC_BY_VIEW, FeatureTopic
from tests.features.declared import DECLARING
from tests.features.feature_records import (
    NOW_MS,
    categories,
    counters,
    decoded,
    exposure_value,
    global_value,
    history,
    item_value,
    shown_value,
    user_value,
)


def plain(**fields: Any) -> bytes:
    """A record of anything."""
    return json.dumps({"event_time_ms": NOW_MS, **fields}).encode()


def test_a_user_row_travels_as_it_is() -> None:
    """Every column goes to the field of its name, the newest event time last."""
    value = user_value("u1", 2.5, **history([("b", 9), ("a", 5)]), **categories([("Drama", 3, 1.5)]))
    assert decoded("user_activity", "u1", value).fields == {
        "user_counters": counters(2.5),
        "user_history_item_ids": ["b", "a"],
        "user_history_actions": ["click", "click"],
        "user_history_times_ms": [9, 5],
        "user_history_outcomes": [1, 1],
        "user_category_names": ["Drama"],
        "user_category_counts": [3, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0],
        "user_activity_event_time_ms": NOW_MS,
    }


def test_exposure_travels_as_it_is() -> None:
    """What a user was shown, and how an item fared."""
    user = decoded("user_exposure", "u1", shown_value("u1", [("b", 9), ("a", 5)]))
    assert (user.fields["user_shown_item_ids"], user.fields["user_shown_times_ms"]) == (["b", "a"], [9, 5])
    item = decoded("item_exposure", "i1", exposure_value("i1", 3.0, 0.3, 1.0))
    assert item.fields["item_exposure"] == [7, 3.0, 0.3, 1.0, *[0.0] * 31]
    assert (user.consumed, item.consumed) == ({}, {})


@pytest.mark.parametrize("view", TOPIC_BY_VIEW)
@pytest.mark.parametrize("config", [FeaturesConfig(), DECLARING], ids=["default", "declaring"])
def test_what_flink_says_nothing_of_is_nothing_yet(view: str, config: FeaturesConfig) -> None:
    """Null and absent columns become zeros and empty lists of the right length, never missing fields."""
    names = ("counters", "exposure", "history_item_ids", "history_times_ms", "category_counts", "features")
    fields = decoded(view, "x", plain(**dict.fromkeys(names)), config=config).fields
    assert fields == decoded(view, "x", plain(), config=config).fields
    assert set(fields) == set(TOPIC_BY_VIEW[view].fields_of(config))
    numbers = {
        name: value
        for name, value in fields.items()
        if name in config.declared or name in ("user_counters", "item_counters", "item_exposure")
    }
    assert all(value == [0.0] * len(value) and value for value in numbers.values() if isinstance(value, list))


@pytest.mark.parametrize("sent", [None, [1.0], [1.0] * 4, []])
def test_a_declared_feature_of_another_length_is_nothing_yet(sent: list[float] | None) -> None:
    """Rows of a job that does not know the feature, or counts it otherwise, come until the new one writes."""
    row = decoded(
        "user_activity", "u1", user_value("u1", features={"user_views": sent, "older": [1]}), config=DECLARING
    )
    assert row.fields["user_views"] == [0.0, 0.0, 0.0]
    assert "older" not in row.fields


def test_declared_features_of_every_entity_arrive() -> None:
    """Each view carries its own entity's."""
    values = {"user_activity": user_value("x", features={"user_last_rating": [NOW_MS, 4.0]})}
    values["item_activity"] = item_value("x", features={"item_best_rating": [2.0, 5.0]})
    values["global_activity"] = global_value(global_likes=[8.0]).replace(b'"all"', b'"x"')
    fields = {
        name: v
        for view, value in values.items()
        for name, v in decoded(view, "x", value, config=DECLARING).fields.items()
    }
    assert fields["user_last_rating"] == [NOW_MS, 4.0]
    assert fields["item_best_rating"] == [2.0, 5.0]
    assert fields["global_likes"] == [8.0]


def test_consumed_items_carry_their_newest_time() -> None:
    """An item clicked twice counts as consumed at the later click."""
    row = decoded("user_activity", "u1", user_value("u1", **history([("a", 9), ("b", 7), ("a", 5)])))
    assert row.consumed == {"a": 9, "b": 7}


@pytest.mark.parametrize(
    ("view", "fields"),
    [
        ("user_activity", {"counters": [1.0] * 7}),
        ("user_activity", {"counters": None, "history_item_ids": ["a"]}),
        ("user_activity", {**history([("a", 5)]), "history_outcomes": []}),
        ("user_activity", {"category_names": ["a"], "category_counts": [1.0] * 6}),
        ("user_activity", {"category_counts": [1.0]}),
        ("user_exposure", {"shown_item_ids": ["a", "b"], "shown_times_ms": [1]}),
        ("user_exposure", {"shown_times_ms": [1]}),
        ("item_activity", {"counters": [1.0] * 29}),
        ("item_exposure", {"exposure": [0.0]}),
        ("global_activity", {"features": {"global_likes": "many"}}),
    ],
)
def test_columns_of_wrong_lengths_are_refused(view: str, fields: dict[str, Any]) -> None:
    """Halves of rows are never stored."""
    with pytest.raises(BadRowError):
        decoded(view, "x", plain(**fields))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"u1", b"{"),
        (b"u1", b"\xff"),
        (b"u1", b"{}"),
        (b"u1", b"[]"),
        (b"u1", b'{"event_time_ms": null}'),
        (b"u1", b'{"counters": [null], "event_time_ms": 1}'),
        (b"u1", b'{"counters": [], "event_time_ms": 9223372036854775808}'),
        (b"u1", b'{"counters": [], "event_time_ms": "soon"}'),
        (b"u1", user_value("someone-else")),
        (b"", user_value("")),
        (None, user_value("")),
        (b"\xff", user_value("")),
        (b"x" * 129, user_value("")),
    ],
)
def test_what_is_no_row_is_refused(key: bytes | None, value: bytes) -> None:
    """Every kind of damage is one error, so that one record never stops the ingester."""
    with pytest.raises(BadRowError):
        TOPIC_BY_VIEW["user_activity"].decode(key, value, NOW_MS, FeaturesConfig())


@pytest.mark.parametrize("topic", FEATURE_TOPICS, ids=lambda topic: topic.view)
def test_a_deleted_row_has_every_field_missing(topic: FeatureTopic) -> None:
    """A null value names all fields, declared ones too, so that none keeps its old value."""
    assert decoded(topic.view, "x", None, config=DECLARING).fields == dict.fromkeys(topic.fields_of(DECLARING))
