"""Verdicts and orders fold to one state, whatever the order in which the two topics are read."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from features.quality.hold_table import CLEARED, CONTROL_TOPIC, DROP_ORDER, RELEASE_ORDER, HoldTable, QualityOrder
from features.quality.profile import CLEAN, DROPPED, HELD, QUALITY_TOPIC, RELEASED, Profile, encode_profile


def verdict(state: str, start_ms: int = 100, end_ms: int = 200) -> tuple[str, bytes]:
    """A record of the quality topic."""
    return QUALITY_TOPIC, encode_profile(Profile(window_start_ms=start_ms, window_end_ms=end_ms, state=state))


def order(kind: str, name: str = "app") -> tuple[str, bytes]:
    """A record of the control topic."""
    message = QualityOrder(idempotency_key="k", name=name, order=kind, window_start_ms=100, window_end_ms=200)
    return CONTROL_TOPIC, msgspec.json.encode(message)


def table_of(*records: tuple[str, bytes]) -> HoldTable:
    """Fold records."""
    table = HoldTable("app")
    for topic, raw in records:
        table.apply(topic, raw)
    return table


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([verdict(HELD)], HELD),
        ([verdict(HELD), order(RELEASE_ORDER)], RELEASED),
        ([verdict(HELD), order(DROP_ORDER)], DROPPED),
        ([verdict(HELD), order(DROP_ORDER), order(RELEASE_ORDER)], DROPPED),
        ([verdict(HELD), order(RELEASE_ORDER, "other")], HELD),
    ],
)
def test_orders_count_more_than_verdicts(records: list[tuple[str, bytes]], state: str) -> None:
    """Whatever the order in which verdicts and orders are interleaved."""
    orders = [record for record in records if record[0] == CONTROL_TOPIC]
    for place in range(len(orders) + 1):
        mixed = [*orders[:place], verdict(HELD), *orders[place:]]
        assert table_of(*mixed).holds[100].state == state


def test_new_verdict_replaces_the_old() -> None:
    """Held, then judged clean: held no more; windows that never were held are not kept."""
    assert table_of(verdict(HELD), verdict(CLEAN)).holds[100].state == CLEARED
    assert table_of(verdict(CLEAN)).holds == {}


def test_find_covers_the_window_without_its_end() -> None:
    """Start included, end not; also where windows of other lengths overlap."""
    table = table_of(verdict(HELD), verdict(HELD, 150, 160), verdict(CLEAN, 400, 500))
    found = [table.find(time_ms) for time_ms in (99, 100, 155, 199, 200, 450)]
    assert [hold is not None for hold in found] == [False, True, True, True, False, False]


def test_garbage_on_either_topic_is_passed_over() -> None:
    """Orders of other kinds, broken records, nulls."""
    model_order = msgspec.json.encode({"idempotency_key": "k", "name": "app", "order": "rollback", "version": "1.2"})
    records = itertools.product((QUALITY_TOPIC, CONTROL_TOPIC), (b"", b"{", b"[]", b"\xff", model_order))
    assert table_of(*records).holds == {}


def test_old_windows_are_forgotten() -> None:
    """What ended before the limit is gone, and found no more."""
    table = table_of(verdict(HELD), verdict(HELD, 300, 400))
    table.forget_before(200)
    assert list(table.holds) == [300]
    assert table.find(150) is None
