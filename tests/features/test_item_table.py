"""Items count what happened to them and how they fared on lists."""

from __future__ import annotations

import numpy as np
import pytest

from features.config import FeaturesConfig
from features.item_table import ItemTable
from tests.features.declared import DECLARING
from tests.features.feature_records import NOW_MS, counted

LISTS = [(["a", "b"], NOW_MS - 600_000), (["b", "c", "d", "a"], NOW_MS), (["e"], NOW_MS)]


@pytest.fixture
def table() -> ItemTable:
    """Three lists, and one click on what stood on the second."""
    filled = ItemTable(DECLARING)
    for item_ids, served_time_ms in LISTS:
        filled.add_shown(item_ids, served_time_ms)
    filled.add_list_click("b", NOW_MS)
    return filled


def test_each_item_of_a_list_had_its_share_of_a_click_to_expect(table: ItemTable) -> None:
    """Lists, expected clicks and clicks equal plain sums, decayed at the shortest half-life, ten minutes."""
    expected = {
        "a": [1.5, 0.5 / 2 + 1 / 4, 0.0],
        "b": [1.5, 0.5 / 2 + 1 / 4, 1.0],
        "c": [1.0, 0.25, 0.0],
        "e": [1.0, 1.0, 0.0],
    }
    exposures = table.exposures(NOW_MS)
    assert exposures.shape == (5, len(DECLARING.half_lives_s), 3)
    for item_id, numbers in expected.items():
        assert exposures[table.row_of(item_id), 0].tolist() == pytest.approx(numbers)


def test_being_shown_is_no_event(table: ItemTable) -> None:
    """Counters and declared features stay at nothing; the items are known."""
    assert len(table) == 5
    assert not table.counts(NOW_MS).any()
    assert not table.declared.rows(5).any()


def test_items_that_were_never_shown_have_no_exposure() -> None:
    """Rows after the last shown one, and a table that showed nothing."""
    table = ItemTable(FeaturesConfig())
    assert table.exposures(NOW_MS).shape == (0, 5, 3)
    table.ensure_rows(["a", "b", "c"])
    assert not table.exposures(NOW_MS).any()
    table.add_shown(["b"], NOW_MS)
    assert table.exposures(NOW_MS)[:, 0, 0].tolist() == [0.0, 1.0, 0.0]


def test_rows_that_travelled_replace_exposure_and_features(table: ItemTable) -> None:
    """The server takes over what Flink counted."""
    epoch = NOW_MS // 24_000_000
    flat = [epoch, 4.0, 0.5, 2.0, 0.0, 0.0, 0.0] + [0.0] * 28
    table.set_exposure("new", np.array(flat))
    table.set_declared("new", np.arange(11.0))
    row = table.row_of("new")
    decay = 2.0 ** (-(NOW_MS - epoch * 24_000_000) / 600_000)
    np.testing.assert_allclose(table.exposures(NOW_MS)[row, 0], [4.0 * decay, 0.5 * decay, 2.0 * decay])
    assert table.declared.row(row).tolist() == list(range(11))


def test_an_event_counts_for_its_item_and_for_all() -> None:
    """Declared features of the item in its row, those of all in the one row."""
    table = ItemTable(DECLARING)
    for number, item_id in enumerate("aab"):
        event = counted(item_id, NOW_MS, f"e{number}", action="like", value=float(number))
        table.add_event(table.ensure_row(item_id), event, 1)
    assert table.global_declared.row(0).tolist() == [3.0]
    assert table.declared.rows(2)[:, -1].tolist() == [NOW_MS, NOW_MS]
    assert table.counts(NOW_MS)[:, 0, 0].tolist() == [2.0, 1.0]


def test_a_restored_table_is_the_same_and_goes_on_alike(table: ItemTable) -> None:
    """With exposure and features, beyond the first growth."""
    table.ensure_rows([f"more-{number}" for number in range(200)])
    table.add_event(3, counted("d", NOW_MS, action="like", value=3.0), 1)
    other = ItemTable(DECLARING)
    other.restore(table.item_ids, table.category_names, table.arrays())
    for each in (table, other):
        each.add_shown(["more-9", "a"], NOW_MS)
        each.add_event(3, counted("d", NOW_MS, "e2", "v", action="like"), 1)
    np.testing.assert_array_equal(table.exposures(NOW_MS), other.exposures(NOW_MS))
    np.testing.assert_array_equal(table.declared.rows(205), other.declared.rows(205))
    np.testing.assert_array_equal(table.global_declared.rows(1), other.global_declared.rows(1))
    np.testing.assert_array_equal(table.counts(NOW_MS), other.counts(NOW_MS))
