"""What lists of one moment share."""

from __future__ import annotations

import numpy as np
import pytest

from features.config import FeaturesConfig
from features.item_summary import BACKOFF_EVENTS, ItemSummary, best_rows
from features.item_table import ItemTable
from tests.features.feature_records import NOW_MS, counted

FEATURES = FeaturesConfig(half_lives_s=(3600.0, 86400.0))
DAY_MS = 86_400_000


def table_of(likes: dict[str, int], time_ms: int = NOW_MS) -> ItemTable:
    """Items in the order given, each liked so often at one time."""
    table = ItemTable(FEATURES)
    for item_id, times in likes.items():
        row = table.ensure_row(item_id)
        for _ in range(times):
            table.add_event(row, counted(item_id, time_ms), 1)
    return table


def test_a_share_of_a_short_half_life_backs_off_to_the_longer_one() -> None:
    """Of 3 likes 2: with so few the longer one's share, here equal, decides all the same."""
    summary = ItemSummary.of_table(table_of({"a": 2, "b": 1}), NOW_MS)
    share = 2 / 3
    short = (2 + BACKOFF_EVENTS * share) / (3 + BACKOFF_EVENTS)
    assert summary.popularity.tolist() == pytest.approx([(share + short) / 2, (1 - (share + short) / 2)], rel=1e-6)


def test_what_nobody_touched_lately_keeps_its_long_share() -> None:
    """A day later the short half-life is empty and says what the long one says."""
    summary = ItemSummary.of_table(table_of({"a": 30, "b": 10}), NOW_MS + 3 * DAY_MS)
    assert summary.popularity[0] > 2.9 * summary.popularity[1]


def test_leaders_are_listable_and_best_first() -> None:
    """Removed items lead nothing; `only_seen` drops what had no event."""
    table = table_of({"a": 1, "b": 3, "c": 2, "d": 0})
    table.remove_item("b")
    assert ItemSummary.of_table(table, NOW_MS).leaders.tolist() == [2, 0, 3]
    assert ItemSummary.of_table(table, NOW_MS, only_seen=True).leaders.tolist() == [2, 0]


def test_categories_have_their_own_leaders_and_shares() -> None:
    """Each item leads in every category it has."""
    table = table_of({"a": 1, "b": 3, "c": 2})
    for item_id, names in (("a", ["x"]), ("b", ["y"]), ("c", ["x", "y"])):
        table.set_item(item_id, names)
    summary = ItemSummary.of_table(table, NOW_MS)
    assert [row[row >= 0].tolist() for row in summary.category_leaders] == [[2, 0], [1, 2]]
    assert summary.category_shares[:, 0].tolist() == pytest.approx([3 / 8, 5 / 8])


def test_the_newest_come_first() -> None:
    """An item without a time is not fresh."""
    table = table_of({"a": 1, "b": 1, "c": 1})
    table.set_item("a", [], published_time_ms=NOW_MS - 5)
    table.set_item("c", [], published_time_ms=NOW_MS - 1)
    assert ItemSummary.of_table(table, NOW_MS).fresh.tolist() == [2, 0]


def test_best_rows_keep_the_order_of_equals() -> None:
    """Infinite values are never best."""
    assert best_rows(np.array([1.0, 2.0, -np.inf, 2.0]), 3).tolist() == [1, 3, 0]
    assert best_rows(np.array([1.0, 2.0, 2.0, 2.0]), 2).tolist() == [1, 2]
