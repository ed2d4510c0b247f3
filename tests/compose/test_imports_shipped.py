"""Files as other services write them become events without a mapping of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compose.imports.survey import Survey
from headrace_client import Event
from tests.compose.events_files import read, shipped_options, write_csv, write_jsonl, write_parquet


def param(key: str, **value: Any) -> dict[str, Any]:
    """One of GA4's key/value pairs, with all four members as BigQuery writes them."""
    return {"key": key, "value": {"string_value": None, "int_value": None, "double_value": None, **value}}


def ga4_row(event_name: str, item_ids: list[str], **fields: Any) -> dict[str, Any]:
    """A row of events_YYYYMMDD with the columns that matter and some that do not."""
    params = [param("page_location", string_value="https://a.test/b"), param("ga_session_id", int_value=77)]
    return {
        "event_date": "20240131",
        "event_timestamp": 1_706_700_000_123_456,
        "event_name": event_name,
        "event_params": params,
        "user_id": None,
        "user_pseudo_id": "99.1",
        "device": {"category": "mobile", "language": "de"},
        "geo": {"country": "Germany"},
        "ecommerce": {"transaction_id": "T1", "purchase_revenue": 30.0},
        "items": [{"item_id": item_id, "price": 10.0 * n} for n, item_id in enumerate(item_ids, start=1)],
        **fields,
    }


GA4_ROWS = [
    ga4_row("purchase", ["tea", "cup"]),
    ga4_row("view_item", ["tea"], user_id="ada"),
    ga4_row("view_item", ["(not set)"]),
    ga4_row("add_to_cart", ["tea"], user_pseudo_id=None),
    ga4_row("page_view", []),
    ga4_row("page_view", []),
]


@pytest.fixture(params=["parquet", "bigquery-parquet", "jsonl"])
def ga4(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[Event], Survey]:
    """The same export in the shapes that BigQuery writes."""
    if request.param == "parquet":
        path = write_parquet(tmp_path / "e.parquet", GA4_ROWS)
    elif request.param == "bigquery-parquet":  # Lists with a wrapper around each element.
        wrapped = [{**row, "items": {"list": [{"element": item} for item in row["items"]]}} for row in GA4_ROWS]
        path = write_parquet(tmp_path / "e.parquet", wrapped)
    else:  # JSON carries 64-bit numbers as text.
        texts = [{**row, "event_timestamp": str(row["event_timestamp"])} for row in GA4_ROWS]
        path = write_jsonl(tmp_path / "events_000000000000.json", texts)
    return read(path, shipped_options("ga4"))


def test_ga4_items_become_events_of_their_own(ga4: tuple[list[Event], Survey]) -> None:
    """A purchase of two items is two purchases, each with its price; microseconds become milliseconds."""
    events, _ = ga4
    assert [(e.user_id, e.item_id, e.action, e.value) for e in events] == [
        ("99.1", "tea", "purchase", 10.0),
        ("99.1", "cup", "purchase", 20.0),
        ("ada", "tea", "view", 10.0),
    ]
    assert {event.event_time_ms for event in events} == {1_706_700_000_123}
    assert len({event.event_id for event in events}) == 3


def test_ga4_parameters_become_session_and_context(ga4: tuple[list[Event], Survey]) -> None:
    """Out of lists of key/value pairs and nested records."""
    event = ga4[0][0]
    assert event.session_id == "77"
    assert event.context == {
        "page": "https://a.test/b",
        "device": "mobile",
        "country": "Germany",
        "transaction": "T1",
    }


def test_ga4_rows_that_are_no_events_are_counted(ga4: tuple[list[Event], Survey]) -> None:
    """Actions that say nothing about an item, items that are not set, users without consent."""
    assert dict(ga4[1].left_out) == {"action page_view": 2, "no item_id": 1, "no user_id": 1}


SEGMENT_ROWS: list[dict[str, Any]] = [
    {
        "type": "track",
        "event": "Product Clicked",
        "userId": "ada",
        "anonymousId": "anon-1",
        "messageId": "m-1",
        "timestamp": "2024-01-31T11:20:00.123Z",
        "context": {"page": {"path": "/shelf"}, "device": {"type": "ios"}},
        "properties": {"product_id": "tea", "sku": "T-1", "price": 4.5},
    },
    {
        "type": "track",
        "event": "Order Completed",
        "userId": None,
        "anonymousId": "anon-1",
        "messageId": "m-2",
        "timestamp": "2024-01-31T12:20:00.123+01:00",
        "properties": {"order_id": "O-1", "products": [{"product_id": "tea", "price": 4.5}, {"sku": "cup"}]},
    },
    {"type": "page", "name": "Home", "userId": "ada", "messageId": "m-3", "timestamp": "2024-01-31T11:20:00Z"},
    {"type": "track", "event": "Signed Up", "userId": "ada", "messageId": "m-4", "timestamp": "2024-01-31T11:20:00Z"},
]


def test_segment_track_calls_become_events(tmp_path: Path) -> None:
    """One for each product, with the id of the message; other calls are left out."""
    events, survey = read(write_jsonl(tmp_path / "segment.json.gz", SEGMENT_ROWS), shipped_options("segment"))
    assert [(e.event_id, e.user_id, e.item_id, e.action, e.value) for e in events] == [
        ("m-1", "ada", "tea", "click", 4.5),
        ("m-2:0", "anon-1", "tea", "purchase", 4.5),
        ("m-2:1", "anon-1", "cup", "purchase", None),
    ]
    assert {event.event_time_ms for event in events} == {1_706_700_000_123}
    assert [event.context for event in events[:2]] == [{"page": "/shelf", "device": "ios"}, {"order": "O-1"}]
    assert dict(survey.left_out) == {"not type as wanted": 1, "action Signed Up": 1}


def test_personalize_interactions_become_events(tmp_path: Path) -> None:
    """Seconds become milliseconds; an interaction without a type is a click."""
    names = ("USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE")
    cells = [("1", "tea", 1_706_700_000, "Purchase", "4.5"), ("2", "cup", 1_706_700_001, "", "")]
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    events, _ = read(write_csv(tmp_path / "interactions.csv", rows), shipped_options("personalize"))
    assert [(e.user_id, e.item_id, e.action, e.value, e.event_time_ms) for e in events] == [
        ("1", "tea", "purchase", 4.5, 1_706_700_000_000),
        ("2", "cup", "click", None, 1_706_700_001_000),
    ]


def test_the_smallest_personalize_file_is_enough(tmp_path: Path) -> None:
    """Its three required columns."""
    path = write_csv(tmp_path / "interactions.csv", [{"USER_ID": "1", "ITEM_ID": "tea", "TIMESTAMP": 1_706_700_000}])
    assert [event.action for event in read(path, shipped_options("personalize"))[0]] == ["click"]
