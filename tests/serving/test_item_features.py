"""Laws of the item table's feed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from features.config import EPOCH_HALF_LIVES
from serving.item_features import ITEMS_TOPIC, ROW_TOPICS, ItemFeatures
from tests.fakes import FakeBroker, FakeRecord
from tests.features.declared import DECLARING
from tests.features.feature_records import exposure_value, global_value, item_value, span

NOW_MS = 1_790_000_000_000
ITEM_ACTIVITY, ITEM_EXPOSURE, GLOBAL_ACTIVITY = ROW_TOPICS
HALF_LIFE_MS = 600_000
EPOCH = NOW_MS // (EPOCH_HALF_LIVES * HALF_LIFE_MS)
LANDMARK_MS = EPOCH * EPOCH_HALF_LIVES * HALF_LIFE_MS


def feed(items: ItemFeatures, *records: FakeRecord) -> None:
    """Decode and apply records."""
    items.apply_changes([change for record in records if (change := items.decode_change(record)) is not None])


def item(item_id: str, **fields: Any) -> FakeRecord:
    """Return a record of the item topic."""
    return FakeRecord(ITEMS_TOPIC, 0, 0, item_id.encode(), json.dumps({"item_id": item_id, **fields}).encode())


@pytest.fixture
def items() -> ItemFeatures:
    """A feed that is not started."""
    return ItemFeatures(FakeBroker(()).connect, DECLARING)


def test_item_record_sets_categories_and_availability(items: ItemFeatures) -> None:
    """Absent availability means available; unknown fields are ignored."""
    feed(
        items, item("a", categories=["war"], colour="red"), item("b", is_available=False), item("c", expires_time_ms=5)
    )
    assert items.table.categories_of("a") == ("war",)
    assert items.table.available(NOW_MS).tolist() == [True, False, False]


def test_null_in_a_field_is_as_if_it_were_not_there(items: ItemFeatures) -> None:
    """As in events, and as the trainer reads the same record."""
    feed(items, item("a", categories=None, is_available=None, published_time_ms=None, expires_time_ms=None))
    assert items.table.available(NOW_MS).tolist() == [True]
    assert items.unreadable_records == 0


def test_null_value_removes_an_item(items: ItemFeatures) -> None:
    """A tombstone makes the item unavailable; a later record brings it back."""
    feed(items, item("a"), FakeRecord(ITEMS_TOPIC, 0, 0, b"a", None))
    assert items.table.available(NOW_MS).tolist() == [False]
    feed(items, item("a"))
    assert items.table.available(NOW_MS).tolist() == [True]


def row(topic: str, key: str, value: bytes | None) -> FakeRecord:
    """Return a record of a feature topic."""
    return FakeRecord(topic, 0, 0, key.encode(), value)


def test_counter_row_is_read_as_of_now(items: ItemFeatures) -> None:
    """A sum of one event at the landmark of its epoch counts half after one half-life."""
    feed(items, row(ITEM_ACTIVITY, "a", item_value("a", counters=[*span(EPOCH, 1.0, 1.0), *[0.0] * 28])))
    assert items.table.counts(LANDMARK_MS + HALF_LIFE_MS)[0, 0].tolist() == pytest.approx([0.5, 0.5, 0.0])


def test_exposure_row_is_read_as_of_now(items: ItemFeatures) -> None:
    """Lists, expected clicks and clicks; an item may be shown before anything else is known of it."""
    feed(items, row(ITEM_EXPOSURE, "a", exposure_value("a", 4.0, 0.4, 1.0, EPOCH)))
    assert items.table.exposures(LANDMARK_MS + HALF_LIFE_MS)[0, 0].tolist() == pytest.approx([2.0, 0.2, 0.5])
    assert not items.table.counts(LANDMARK_MS).any()


def test_declared_features_arrive_with_their_rows(items: ItemFeatures) -> None:
    """The item's end to end in the order of their names, zeros for those the job does not know yet."""
    features = {"item_rating": [9.0, 2.0], "item_audience": [3.0], "item_like_share": [1.0], "item_silence": None}
    feed(items, row(ITEM_ACTIVITY, "a", item_value("a", features=features)))
    feed(items, row(GLOBAL_ACTIVITY, "all", global_value(global_likes=[8.0])))
    assert items.table.declared.row(0).tolist() == [3.0, *[0.0] * 7, 9.0, 2.0, 0.0]
    assert items.table.global_declared.row(0).tolist() == [8.0]
    assert items.table.item_ids == ["a"]


@pytest.mark.parametrize("topic", ROW_TOPICS)
def test_deleted_row_leaves_what_decays_by_itself(items: ItemFeatures, topic: str) -> None:
    """A tombstone is no bad record and takes no item away."""
    feed(items, row(ITEM_ACTIVITY, "a", item_value("a", features={"item_audience": [3.0]})))
    before = items.table.declared.row(0).copy()
    feed(items, row(topic, "a", None))
    np.testing.assert_array_equal(items.table.declared.row(0), before)
    assert (items.unreadable_records, items.table.item_ids) == (0, ["a"])


@pytest.mark.parametrize(
    "record",
    [
        FakeRecord(ITEMS_TOPIC, 0, 0, b"a", b"not json"),
        FakeRecord(ITEMS_TOPIC, 0, 0, b"a", b'{"title": "no id"}'),
        FakeRecord(ITEMS_TOPIC, 0, 0, None, None),
        item("a", published_time_ms=10**19),
        item("a", expires_time_ms=10**30),
        FakeRecord(ITEM_ACTIVITY, 0, 0, b"a", b'{"counters": "none"}'),
        FakeRecord(ITEM_ACTIVITY, 0, 0, b"\xff", b"{}"),
        FakeRecord(ITEM_ACTIVITY, 0, 0, b"a", item_value("a", counters=[1.0])),
        FakeRecord(ITEM_EXPOSURE, 0, 0, b"a", item_value("a", exposure=[1.0])),
        FakeRecord(GLOBAL_ACTIVITY, 0, 0, b"all", b'{"features": {}}'),
    ],
)
def test_unreadable_record_is_counted_and_skipped(items: ItemFeatures, record: FakeRecord) -> None:
    """One bad record changes nothing and stops nothing."""
    feed(items, record, item("b"))
    assert (items.unreadable_records, items.table.item_ids) == (1, ["b"])
