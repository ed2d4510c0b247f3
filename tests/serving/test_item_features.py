"""Laws of the item table's feed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from features.config import EPOCH_HALF_LIVES, FeaturesConfig
from serving.item_features import ITEM_COUNTERS_TOPIC, ITEMS_TOPIC, ItemFeatures
from tests.fakes import FakeBroker, FakeRecord

NOW_MS = 1_790_000_000_000


def feed(items: ItemFeatures, *records: FakeRecord) -> None:
    """Decode and apply records."""
    items.apply_changes([change for record in records if (change := items.decode_change(record)) is not None])


def item(item_id: str, **fields: Any) -> FakeRecord:
    """Return a record of the item topic."""
    return FakeRecord(ITEMS_TOPIC, 0, 0, item_id.encode(), json.dumps({"item_id": item_id, **fields}).encode())


@pytest.fixture
def items() -> ItemFeatures:
    """A feed that is not started."""
    return ItemFeatures(FakeBroker(()).connect, FeaturesConfig())


def test_item_record_sets_categories_and_availability(items: ItemFeatures) -> None:
    """Absent availability means available; unknown fields are ignored."""
    feed(
        items, item("a", categories=["war"], colour="red"), item("b", is_available=False), item("c", expires_time_ms=5)
    )
    assert items.table.categories_of("a") == ("war",)
    assert items.table.available(NOW_MS).tolist() == [True, False, False]


def test_null_value_removes_an_item(items: ItemFeatures) -> None:
    """A tombstone makes the item unavailable; a later record brings it back."""
    feed(items, item("a"), FakeRecord(ITEMS_TOPIC, 0, 0, b"a", None))
    assert items.table.available(NOW_MS).tolist() == [False]
    feed(items, item("a"))
    assert items.table.available(NOW_MS).tolist() == [True]


def test_counter_row_is_read_as_of_now(items: ItemFeatures) -> None:
    """A sum of one event at the landmark of its epoch counts half after one half-life."""
    half_life_ms = 60_000
    epoch = NOW_MS // (EPOCH_HALF_LIVES * half_life_ms)
    counters = [{"half_life": 0, "epoch": epoch, "events": 1.0, "positives": 1.0, "negatives": 0.0}]
    value = json.dumps({"entity_id": "a", "counters": counters, "event_time_ms": NOW_MS}).encode()
    feed(items, FakeRecord(ITEM_COUNTERS_TOPIC, 0, 0, b"a", value))
    landmark_ms = epoch * EPOCH_HALF_LIVES * half_life_ms
    assert items.table.counts(landmark_ms + half_life_ms)[0, 0].tolist() == pytest.approx([0.5, 0.5, 0.0])


@pytest.mark.parametrize(
    "record",
    [
        FakeRecord(ITEMS_TOPIC, 0, 0, b"a", b"not json"),
        FakeRecord(ITEMS_TOPIC, 0, 0, b"a", b'{"title": "no id"}'),
        FakeRecord(ITEMS_TOPIC, 0, 0, None, None),
        FakeRecord(ITEM_COUNTERS_TOPIC, 0, 0, b"a", b'{"counters": "none"}'),
        FakeRecord(ITEM_COUNTERS_TOPIC, 0, 0, b"\xff", b"{}"),
    ],
)
def test_unreadable_record_is_counted_and_skipped(items: ItemFeatures, record: FakeRecord) -> None:
    """One bad record changes nothing and stops nothing."""
    feed(items, record, item("b"))
    assert (items.unreadable_records, items.table.item_ids) == (1, ["b"])
