"""The tables that travel with a version."""

from __future__ import annotations

import numpy as np
import pytest

from features.config import FeaturesConfig
from features.count_tables import BACKWARD_PAIRS, CountTables


def filled() -> CountTables:
    """Two items with a pair, a title and times."""
    tables = CountTables.empty(FeaturesConfig())
    tables.count_following(np.array([0, 2]), 1)
    tables.titles.set_title(0, "alien")
    for time_ms in (50, 20, 70):
        tables.count_event(1, time_ms)
    return tables


def test_first_and_last_event_do_not_depend_on_the_order() -> None:
    """A late event may be the first."""
    assert filled().seen_ms[1].tolist() == [20, 70]


def test_only_the_last_item_has_a_successor() -> None:
    """Pairs reach back, and count both ways; successors do neither."""
    tables = filled()
    assert tables.pairs.totals.tolist() == [1.0, 2 * BACKWARD_PAIRS, 1.0]
    assert tables.successors.totals.tolist() == [1.0, 0.0]


def test_arrays_are_copies_with_a_row_an_item() -> None:
    """What is copied stays as it was, and makes the same tables."""
    tables = filled()
    arrays = tables.arrays(4)
    assert tuple(arrays) == CountTables.array_names()
    assert {len(array) for array in arrays.values()} == {4}
    tables.count_following(np.array([0]), 3)
    copy = CountTables.from_arrays(arrays)
    assert copy.pairs.similar(0, 4).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert copy.seen_ms[1].tolist() == [20, 70]


def test_arrays_of_different_catalogues_are_refused() -> None:
    """Compiled code checks no bounds."""
    arrays = filled().arrays(4)
    with pytest.raises(ValueError, match="do not belong together"):
        CountTables.from_arrays(arrays | {"seen_ms": arrays["seen_ms"][:2]})


def test_tables_restored_without_items_grow() -> None:
    """A trainer that was stopped before the first item goes on with it."""
    tables = CountTables.from_arrays(CountTables.empty(FeaturesConfig()).arrays(0))
    tables.count_event(0, 20)
    tables.titles.set_title(1, "two words")
    tables.count_following(np.array([0]), 1)
    assert {len(array) for array in tables.arrays(2).values()} == {2}
    assert tables.seen_ms[0].tolist() == [20, 20]
