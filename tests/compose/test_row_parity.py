"""Rows of two jobs side by side, while events go on."""

from __future__ import annotations

from typing import Any

import pytest

from compose.row_parity import NEXT, REST_S, RUNNING, RowParity, whole_since
from features.config import FeaturesConfig
from features.feature_topics import TOPIC_BY_VIEW
from tests.features.feature_records import NOW_MS, history, user_value

USERS = TOPIC_BY_VIEW["user_activity"]


def _row(events: float, time_ms: int = NOW_MS, **fields: Any) -> bytes:
    return user_value("u1", events, time_ms, **fields)


def test_what_only_one_job_has_is_what_an_upgrade_is_for() -> None:
    """Fields of both must be equal, to the last digits that floats leave to the order of addition."""
    rows = RowParity(USERS)
    rows.take(RUNNING, b"u1", _row(0.1 + 0.2), 0.0)
    rows.take(NEXT, b"u1", _row(0.3, features={"user_likes": [2.0]}), 0.0)
    assert (rows.equal, rows.unproven) == (1, 0)


def test_a_row_that_always_moves_is_proven_by_any_state_that_both_had() -> None:
    """The next job is two events behind for ever, and its last state is no event's of now."""
    rows = RowParity(USERS)
    for count in range(5):
        rows.take(RUNNING, b"u1", _row(float(count), NOW_MS + count), float(count))
        if count >= 2:
            rows.take(NEXT, b"u1", _row(float(count - 2), NOW_MS + count - 2), float(count))
    assert (rows.equal, rows.unproven) == (1, 0)


def test_a_row_differs_only_when_both_sides_rest_on_the_same_event() -> None:
    """Before it rests, and while one side has not seen the newest event, nothing is said."""
    rows = RowParity(USERS)
    rows.take(RUNNING, b"u1", _row(2.0), 0.0)
    rows.take(NEXT, b"u1", _row(1.0, NOW_MS - 1), 0.0)
    assert rows.different(REST_S, is_over=False) == []
    rows.take(NEXT, b"u1", _row(3.0), 1.0)
    assert rows.different(REST_S, is_over=False) == []
    assert rows.different(REST_S + 1.0, is_over=False) == ["user_activity 'u1'"]


def test_at_the_end_rest_on_other_events_is_a_difference_and_movement_is_none() -> None:
    """A row that the next job lacks, and one that had news a moment ago."""
    rows = RowParity(USERS)
    rows.take(RUNNING, b"lacking", _row(2.0), 0.0)
    rows.take(RUNNING, b"moving", _row(2.0), REST_S)
    rows.take(NEXT, b"moving", _row(1.0), REST_S)
    assert rows.different(REST_S, is_over=True) == ["user_activity 'lacking'"]
    assert rows.unproven == 2


def test_new_rows_do_not_keep_a_comparison_going() -> None:
    """Those known when it begins are looked at."""
    rows = RowParity(USERS)
    rows.take(RUNNING, b"u1", _row(2.0), 0.0)
    rows.freeze()
    rows.take(RUNNING, b"u2", _row(2.0), 0.0)
    rows.take(NEXT, b"u1", _row(2.0), 0.0)
    assert (rows.equal, rows.unproven) == (1, 0)


def test_a_deleted_row_is_not_equal_to_one_with_fields() -> None:
    """A null value is a state like any other."""
    rows = RowParity(USERS)
    rows.take(RUNNING, b"u1", None, 0.0)
    rows.take(NEXT, b"u1", _row(2.0), 0.0)
    assert rows.equal == 0
    rows.take(NEXT, b"u1", None, 0.0)
    assert rows.equal == 1


@pytest.mark.parametrize(
    ("times_ms", "is_compared"), [([9_000, 8_000], True), ([9_000, 4_000], False), ([9_000] * 3, False), ([], False)]
)
def test_with_history_gone_only_rows_that_lie_behind_it_are_compared(times_ms: list[int], is_compared: bool) -> None:
    """All of a list that is not full is known; a full one may have lost its beginning. Differences count as ever."""
    features = FeaturesConfig(history_length=3, clock_skew_s=1.0)
    rows = RowParity(USERS, whole_since("user_activity", features, since_ms=5_000))
    columns = history([(f"i{place}", time_ms) for place, time_ms in enumerate(times_ms)])
    rows.take(NEXT, b"u1", _row(1.0), 0.0)
    rows.take(RUNNING, b"u1", _row(2.0, **columns), 0.0)
    assert (rows.cut, rows.unproven) == ((0, 1) if is_compared else (1, 0))
    assert bool(rows.different(REST_S, is_over=False)) is is_compared


def test_with_history_gone_items_cannot_be_compared() -> None:
    """Nothing in their rows tells when their first event was; nor is there anything to hold a row against alone."""
    items = RowParity(TOPIC_BY_VIEW["item_activity"], whole_since("item_activity", FeaturesConfig(), 5_000))
    items.take(RUNNING, b"i1", _row(1.0), 0.0)
    items.take(NEXT, b"i2", _row(1.0), 0.0)
    items.freeze()
    assert (items.cut, items.unproven) == (2, 0)
