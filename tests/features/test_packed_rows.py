"""Rows as the jobs pack them are the rows that JSON says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from features.config import FeaturesConfig
from features.errors import BadRowError
from features.feast_rows import EncodedRow, FeastRows
from features.feast_values import encode_value
from features.feature_topics import TOPIC_BY_VIEW
from protos.features_pb2 import FeatureRow
from tests.features.declared import DECLARING
from tests.features.feature_records import (
    NOW_MS,
    Record,
    categories,
    counters,
    exposure_value,
    global_value,
    history,
    packed,
    row_value,
    shown_value,
    user_value,
)

ROWS = {
    "counters": ("user_activity", user_value("ü 1", 2.5)),
    "history": ("user_activity", user_value("ü 1", **history([("a", 9), ("ü", 7), ("a", 5)]))),
    "categories": ("user_activity", user_value("ü 1", **categories([("Comédie", 3, 1.5)]))),
    "shown": ("user_exposure", shown_value("ü 1", [("ü", NOW_MS), ("b", NOW_MS)])),
    "nothing shown": ("user_exposure", shown_value("ü 1", [])),
    "item": ("item_activity", row_value("ü 1", NOW_MS, counters=counters(1e300))),
    "item without counters": ("item_activity", row_value("ü 1", NOW_MS)),
    "fared": ("item_exposure", exposure_value("ü 1", 0.1)),
    "declared": ("global_activity", global_value(global_likes=[4.0])),
    "declared of another width": ("global_activity", global_value(global_likes=[4.0, 5.0])),
}
Change = Callable[[FeatureRow], Any]


def encoded(view: str, key: str, value: bytes, config: FeaturesConfig = DECLARING) -> EncodedRow:
    """What the ingester makes of a record."""
    return FeastRows("p").encode_record(TOPIC_BY_VIEW[view], Record(key.encode(), value), config)


@pytest.mark.parametrize(("view", "value"), ROWS.values(), ids=ROWS.keys())
def test_packed_and_json_rows_are_written_alike(view: str, value: bytes) -> None:
    """Bytes, consumed items and time; declared features too, present or not."""
    key = "all" if view == "global_activity" else "ü 1"
    assert encoded(view, key, packed(TOPIC_BY_VIEW[view], value)) == encoded(view, key, value)


@pytest.mark.parametrize(("view", "value"), ROWS.values(), ids=ROWS.keys())
def test_packed_and_json_rows_are_read_alike(view: str, value: bytes) -> None:
    """By those who want numbers, as the server."""
    entry, key = TOPIC_BY_VIEW[view], b"all" if view == "global_activity" else "ü 1".encode()
    read = [entry.decode(key, one, NOW_MS, DECLARING) for one in (packed(entry, value), value)]
    assert read[0] == read[1]


def _changed(change: Change) -> bytes:
    row = FeatureRow.FromString(packed(TOPIC_BY_VIEW["user_activity"], user_value("u1", **history([("a", 9)]))))
    change(row)
    return row.SerializeToString()


def _set(place: int, kind: Any, value: Any) -> Change:
    return lambda row: row.values.__setitem__(place, encode_value(kind, value))


DAMAGED = {
    "nothing": b"",
    "noise": b"\xff",
    "a list": b"[]",
    "another key": packed(TOPIC_BY_VIEW["user_activity"], user_value("someone else")),
    "one column less": _changed(lambda row: row.values.pop()),
    "one more": _changed(lambda row: row.values.append(b"")),
    "no value": _changed(lambda row: row.values.__setitem__(1, b"")),
    "half a value": _changed(lambda row: row.values.__setitem__(1, b"\x62\x05a")),
    "other half-lives": _changed(_set(0, "double_list", [1.0] * 7)),
    "another kind": _changed(_set(1, "int64_list", [1])),
    "a time short": _changed(_set(1, "string_list", ["a", "b"])),
}


@pytest.mark.parametrize("value", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_no_packed_row_is_refused(value: bytes) -> None:
    """Every kind of damage is one error, so that one record never stops the ingester."""
    with pytest.raises(BadRowError):
        encoded("user_activity", "u1", value, FeaturesConfig())
