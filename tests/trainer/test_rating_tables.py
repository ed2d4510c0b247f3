"""Sums of values say what plain Python says, however the tables grow."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.rating_tables import INPUT_NAMES, RatingTables

NO_CATEGORY = np.full(3, -1)


def named(tables: RatingTables, user: int, item: int, categories: tuple[int, ...] = ()) -> dict[str, float]:
    """The inputs of a user and an item by name."""
    found = tables.inputs(user, item, np.array([*categories, -1]), 0)
    return dict(zip(INPUT_NAMES, found.tolist(), strict=True))


def test_values_are_told_in_standard_deviations_from_the_mean_before() -> None:
    """The first one says nothing; a huge one is held to four."""
    tables = RatingTables()
    found = [tables.add(0, 0, NO_CATEGORY, value, 0.0, 0) for value in (3.0, 5.0, 4.0, 1e9)]
    assert found == [0.0, 2.0, 0.0, 4.0]


def test_no_value_spoils_the_scale() -> None:
    """The largest float there is, first or later: what comes after is told apart as before."""
    for at in (0, 5, 40):
        tables, random = RatingTables(), np.random.default_rng(1)
        found = []
        for number in range(3000):
            value = 1.7e308 if number == at else float(random.integers(1, 6))
            found.append(tables.add(0, 0, NO_CATEGORY, value, 0.0, 0))
        assert np.isfinite(list(tables.arrays()["world"])).all()
        assert at == 0 or max(found[1000:]) > 1.0


def test_a_kind_user_and_a_good_item_are_told_apart() -> None:
    """User 0 gives everything two more than user 1; item 0 gets two more than item 1."""
    tables = RatingTables()
    for _ in range(50):
        for user, item, value in ((0, 0, 5.0), (0, 1, 3.0), (1, 0, 3.0), (1, 1, 1.0)):
            tables.add(user, item, NO_CATEGORY, value, float(value >= 4), 0)
    kind, strict = named(tables, 0, 0), named(tables, 1, 1)
    assert kind["user_mean"] > 0.6 > -0.6 > strict["user_mean"]
    assert kind["item_mean"] > 0.6 > -0.6 > strict["item_mean"]
    assert kind["user_residual"] > 0.6 > -0.6 > strict["user_residual"]


def test_a_user_has_a_taste_of_his_own_in_each_category() -> None:
    """Two users of opposite taste; both categories are equal on the whole."""
    tables = RatingTables()
    for turn in range(200):
        user, category = turn % 2, turn // 2 % 2
        value = 5.0 if user == category else 1.0
        tables.add(user, category, np.array([category, -1]), value, float(value >= 4), 0)
    taste = [[named(tables, user, category, (category,))["user_category"] for category in (0, 1)] for user in (0, 1)]
    assert taste[0][0] > 0.5 > -0.5 > taste[0][1]
    assert taste[1][1] > 0.5 > -0.5 > taste[1][0]
    assert abs(named(tables, 0, 0, (0,))["category_mean"]) < 0.1


def test_pairs_survive_growth() -> None:
    """20,000 pairs of users and categories hold what a dictionary of plain sums holds."""
    tables, random = RatingTables(), np.random.default_rng(3)
    counts: dict[tuple[int, int], int] = {}
    for _ in range(20_000):
        user, category = int(random.integers(3000)), int(random.integers(40))
        tables.add(user, 0, np.array([category, -1]), 1.0, 1.0, 0)
        counts[user, category] = counts.get((user, category), 0) + 1
    keys, pairs = tables.arrays()["pair_keys"], tables.arrays()["pairs"]
    held = {
        (int(key) >> 20, int(key) & 0xFFFFF): int(pair[0]) for key, pair in zip(keys, pairs, strict=True) if key >= 0
    }
    assert held == counts


def test_what_is_unknown_is_average() -> None:
    """A new user and a new item are no traceback and no guess."""
    tables = RatingTables()
    tables.add(0, 0, NO_CATEGORY, 5.0, 1.0, 0)
    unknown = named(tables, -1, -1)
    assert [unknown[name] for name in ("user_mean", "item_mean", "user_count", "user_category")] == [0.0] * 4
    assert named(tables, 999, 999)["user_count"] == 0.0


def test_asking_changes_nothing() -> None:
    """Also where it makes room."""
    tables = RatingTables()
    tables.add(0, 0, np.array([0, -1]), 5.0, 1.0, 0)
    before = named(tables, 0, 0, (0,))
    named(tables, 500, 600, (70,))
    assert named(tables, 0, 0, (0,)) == before


@pytest.mark.parametrize("size", [10, 3000])
def test_a_restored_table_goes_on_alike(size: int) -> None:
    """Bit for bit, from any point."""
    random = np.random.default_rng(5)
    stream = [(int(random.integers(200)), int(random.integers(90)), int(random.integers(9))) for _ in range(2 * size)]

    def feed(tables: RatingTables, part: list[tuple[int, int, int]]) -> None:
        for user, item, category in part:
            tables.add(user, item, np.array([category, -1]), float(1 + user % 5), float(user % 2), 1000 * item)

    straight, first, second = RatingTables(), RatingTables(), RatingTables()
    feed(straight, stream)
    feed(first, stream[:size])
    second.restore(first.arrays())
    feed(second, stream[size:])
    for name, array in straight.arrays().items():
        np.testing.assert_array_equal(second.arrays()[name], array)
