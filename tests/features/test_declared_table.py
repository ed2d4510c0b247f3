"""The numbers of declared features are functions of the set of events."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from features.declared_features import DeclaredFeature
from features.declared_table import CountedEvent, DeclaredTable
from tests.features.declared import DECLARED, feature
from tests.features.feature_records import NOW_MS, counted

WINDOW_MS = 3_600_000


def filled(declared: dict[str, DeclaredFeature], events: list[CountedEvent], row: int = 0) -> DeclaredTable:
    """A table that counted events in one row."""
    table = DeclaredTable(declared)
    for event in events:
        table.add_event(row, event)
    return table


def some_events(count: int = 60) -> list[CountedEvent]:
    """Events over five windows, many at equal times."""
    rng = random.Random(2)
    actions = ["view", "like", "rating", "purchase"]
    return [
        counted(
            f"i{rng.randrange(20)}",
            NOW_MS - rng.randrange(5) * WINDOW_MS,
            f"e{number}",
            f"u{rng.randrange(20)}",
            action=rng.choice(actions),
            value=rng.choice([None, -1.0, 2.0, 5.0]),
        )
        for number in range(count)
    ]


def test_every_permutation_gives_the_same_numbers() -> None:
    """All 120 orders of five events over four windows and three epochs, for every aggregation."""
    times_ms = [NOW_MS - windows * WINDOW_MS for windows in (0, 0, 1, 2, 3)]
    events = [counted("i", at, f"e{n}", action="rating", value=float(n)) for n, at in enumerate(times_ms)]
    declared = {**DECLARED, "user_fast": feature("user", "mean", half_lives_s=[60, 90])}
    expected = filled(declared, events).row(0)
    for order in itertools.permutations(events):
        np.testing.assert_allclose(filled(declared, list(order)).row(0), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_order_does_not_matter_in_long_streams(seed: int) -> None:
    """Sixty events of all kinds, shuffled."""
    events = some_events()
    shuffled = random.Random(seed).sample(events, len(events))
    np.testing.assert_allclose(filled(DECLARED, shuffled).row(0), filled(DECLARED, events).row(0), rtol=1e-12)


def test_sums_equal_plain_sums() -> None:
    """Without spans: count, mean, max, last, time of the last."""
    rated = [event for event in some_events() if event.action == "rating" and event.value is not None]
    names = ("global_likes", "item_rating", "user_last_rating", "item_silence")
    row = filled({name: DECLARED[name] for name in names}, some_events()).row(0).tolist()
    last = max(rated, key=lambda event: (event.event_time_ms, event.event_id))
    likes = sum(event.action == "like" for event in some_events())
    assert row[:3] == [likes, sum(event.value or 0.0 for event in rated), len(rated)]
    assert row[3:] == [last.event_time_ms, last.value, max(event.event_time_ms for event in some_events())]


def test_a_span_holds_the_newest_epoch_and_the_one_before() -> None:
    """What is older has no place, whether it came first or last."""
    declared = {"user_spent": feature("user", "sum", window_s=3600)}
    epoch = NOW_MS // WINDOW_MS
    events = [counted("i", (epoch + ahead) * WINDOW_MS, f"e{ahead}", value=10.0 + ahead) for ahead in (1, 3, 0, 2, 3)]
    assert filled(declared, events).row(0).tolist() == [epoch + 3, 26.0, 12.0]
    assert filled(declared, [events[0], events[1]]).row(0).tolist() == [epoch + 3, 13.0, 0.0]


def test_a_negative_maximum_is_not_nothing() -> None:
    """Values seen are counted beside the largest."""
    events = [counted(event_id=f"e{n}", value=value) for n, value in enumerate((-3.0, -2.0, -7.0))]
    assert filled({"item_best": feature("item", "max")}, events).row(0).tolist() == [3.0, -2.0]


def test_rows_do_not_mix() -> None:
    """The table grows; rows in between are zeros."""
    table = filled(DECLARED, some_events(), row=100)
    other = filled(DECLARED, some_events())
    np.testing.assert_array_equal(table.row(100), other.row(0))
    assert not table.rows(100).any()
    assert table.rows(300).shape == (300, table.width)


def test_a_row_that_travelled_is_taken_over() -> None:
    """The server counts nothing itself."""
    table, numbers = DeclaredTable(DECLARED), filled(DECLARED, some_events()).row(0)
    table.set_row(70, numbers)
    np.testing.assert_array_equal(table.row(70), numbers)


def test_a_restored_table_counts_on_as_if_nothing_had_happened() -> None:
    """What is behind `last` and `distinct` comes back too; the arrays are copies."""
    events = some_events()
    through = filled(DECLARED, events)
    half = filled(DECLARED, events[:30])
    arrays = half.arrays()
    for event in events[30:]:
        half.add_event(0, event)
    restored = DeclaredTable(DECLARED)
    restored.restore(arrays)
    for event in reversed(events[30:]):
        restored.add_event(0, event)
    np.testing.assert_allclose(restored.row(0), through.row(0), rtol=1e-12)
    np.testing.assert_allclose(half.row(0), through.row(0), rtol=1e-12)


def test_an_empty_table_survives_a_checkpoint() -> None:
    """Also one without any feature."""
    for declared in ({}, DECLARED):
        table = DeclaredTable(declared)
        table.restore(DeclaredTable(declared).arrays())
        table.add_event(3, some_events()[0])
        assert table.rows(4).shape == (4, table.width)
