"""Raw records as columns: every reason of the feature job, and outcomes as the configuration says them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from features.config import AppConfig
from features.quality.event_columns import ColumnBuffer, outcomes

NOW_MS = 1_700_000_000_000
GOOD: dict[str, Any] = {
    "event_id": "e1",
    "user_id": "ada",
    "item_id": "tea",
    "action": "rating",
    "event_time_ms": NOW_MS - 700,
    "value": 4,
    "request_id": "r1",
    "unknown": [1, {"deep": None}],
}


def reason_of(app: AppConfig, raw: bytes) -> dict[str, int]:
    """Return what a record is counted as."""
    buffer = ColumnBuffer(app)
    buffer.append(raw, NOW_MS)
    return dict(buffer.columns().unusable)


def test_usable_event_is_kept_with_all_that_is_judged(app: AppConfig) -> None:
    """Action, value, age and request come through; unknown fields are passed over."""
    buffer = ColumnBuffer(app)
    buffer.append(json.dumps(GOOD).encode(), NOW_MS)
    columns = buffer.columns()
    assert columns.records == len(columns.events) == 1
    assert list(app.actions)[columns.actions[0]] == "rating"
    assert (columns.values[0], columns.age_ms[0], columns.has_request[0]) == (4.0, 700, 1)


def test_equal_ids_have_equal_hashes_in_any_process(app: AppConfig) -> None:
    """The hash is a fixed function of the text: profiles are the same after a restart."""
    buffer = ColumnBuffer(app)
    buffer.append(json.dumps(GOOD).encode(), NOW_MS)
    assert buffer.columns().users[0] == np.uint64(2362850973533975508)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_id": None}, "missing_event_id"),
        ({"user_id": ""}, "bad_user_id"),
        ({"user_id": 7}, "bad_user_id"),
        ({"item_id": "x" * 129}, "bad_item_id"),
        ({"item_id": "é" * 65}, "bad_item_id"),
        ({"item_id": "a\u0085b"}, "bad_item_id"),
        ({"action": "explode"}, "unknown_action"),
        ({"action": None}, "missing_action"),
        ({"event_time_ms": None}, "missing_event_time_ms"),
        ({"event_time_ms": -1}, "bad_event_time_ms"),
        ({"event_time_ms": "now"}, "bad_event_time_ms"),
        ({"event_time_ms": NOW_MS - 25 * 3_600_000}, "too_old"),
        ({"value": "high"}, "bad_value"),
        ({"request_id": []}, "bad_request_id"),
        ({"request_id": "r" * 129}, "bad_request_id"),
        ({"context": {"a": "x" * 70_000}}, "too_large"),
        ({"event_time_ms": float(NOW_MS)}, "bad_event_time_ms"),
        ({"value": 10**400}, "bad_value"),
        ({"action": "", "event_time_ms": None}, "bad_action"),
        ({"event_id": None, "user_id": 7, "request_id": []}, "missing_event_id"),
        ({"user_id": "\ud800" * 40}, "bad_user_id"),
    ],
)
def test_each_reason_is_told(app: AppConfig, change: dict[str, Any], reason: str) -> None:
    """What the feature job would reject is counted under the same name."""
    assert reason_of(app, json.dumps({**GOOD, **change}).encode()) == {reason: 1}


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b'{"event_id": "a"} {}'])
def test_garbage_is_not_json(app: AppConfig, raw: bytes) -> None:
    """What is no JSON object is counted and harms nothing."""
    assert reason_of(app, raw) == {"not_json": 1}


def test_bytes_that_are_no_text_are_not_json_wherever_they_stand(app: AppConfig) -> None:
    """Also in a field that nobody reads, which the decoder passes over."""
    raw = json.dumps({**GOOD, "note": "here"}).encode()
    assert reason_of(app, raw) == {}
    assert reason_of(app, raw.replace(b"here", b"h\xffre")) == {"not_json": 1}


def test_a_number_that_no_float_holds_is_a_bad_value(app: AppConfig) -> None:
    """It is JSON all the same."""
    assert reason_of(app, json.dumps(GOOD).encode().replace(b'"value": 4', b'"value": 1e999')) == {"bad_value": 1}


def test_outcomes_are_those_of_the_configuration(app: AppConfig) -> None:
    """The vectorised outcome equals `ActionConfig.outcome_of` for every action and value."""
    values = [np.nan, 1.0, 3.0, 4.0, 5.0]
    pairs = [(row, value) for row in range(len(app.actions)) for value in values]
    found = outcomes(np.array([p[0] for p in pairs], dtype=np.int16), np.array([p[1] for p in pairs]), app.actions)
    actions = list(app.actions.values())
    expected = [actions[row].outcome_of(None if np.isnan(value) else value) for row, value in pairs]
    assert found.tolist() == expected
