"""Lists hold the right items, once each, with the declared inputs."""

from __future__ import annotations

import numpy as np
import pytest

from features.candidates import Catalog, build_list, popularity_order
from features.co_visitation import CoVisitation
from features.config import CandidatesConfig, FeaturesConfig
from features.item_table import ItemTable
from features.model_inputs import feature_schema_hash, ranker_input_names, user_input_names
from features.user_state import UserState, UserTable, cold_user_state, user_state_from_row

FEATURES = FeaturesConfig()
NOW_MS = 1_700_000_000_000
SMALL = CandidatesConfig(co_visitation=3, popularity=3, tower=3, fresh=2)


class Shop:
    """Twenty items, item k liked k times, and one user who liked items 0 and 1 in that order."""

    def __init__(self) -> None:
        self.items, self.users, self.pairs = ItemTable(FEATURES), UserTable(FEATURES), CoVisitation(8)
        for k in range(20):
            self.items.set_item(f"i{k}", ["a" if k % 2 else "b"], published_time_ms=NOW_MS - 3_600_000 * (20 - k))
            for _ in range(k):
                self.items.add_event(k, NOW_MS, 1)
        for k in (0, 1):
            self.users.add_event("u", f"i{k}", ["b"], NOW_MS + k, f"e{k}", 1)
        self.pairs.add(np.array([1]), 7)

    def history(self, user: UserState) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the user's history as rows."""
        return self.items.rows_of(user.history_item_ids)


@pytest.fixture
def shop() -> Shop:
    """A filled shop."""
    return Shop()


def test_a_list_holds_each_allowed_item_once(shop: Shop) -> None:
    """Consumed items stay out, no row comes twice, and the names of the sources fit."""
    user, catalog = shop.users.state("u", NOW_MS), Catalog.of_table(shop.items, NOW_MS)
    excluded = catalog.excluded.copy()
    excluded[[0, 1]] = True
    tower = np.arange(20.0)[::-1]
    found = build_list(user, shop.history(user), catalog, excluded, shop.pairs, tower, SMALL)
    assert len(set(found.rows.tolist())) == len(found.rows) == len(found.sources)
    assert not {0, 1} & set(found.rows.tolist())
    assert dict(zip(found.rows.tolist(), found.sources, strict=True))[7] == "covisitation"
    assert {"popularity", "tower", "covisitation"} <= set(found.sources)


def test_inputs_follow_the_named_schema(shop: Shop) -> None:
    """Every list has one finite column per declared name and the user's part in it."""
    user, catalog = shop.users.state("u", NOW_MS), Catalog.of_table(shop.items, NOW_MS)
    found = build_list(user, shop.history(user), catalog, catalog.excluded, shop.pairs, None, SMALL)
    names = ranker_input_names(FEATURES)
    assert found.inputs.shape == (len(found.rows), len(names))
    assert len(found.user_inputs) == len(user_input_names(FEATURES))
    assert np.isfinite(found.inputs).all()
    np.testing.assert_array_equal(found.inputs[:, names.index("hand_score")], found.hand_scores)
    start = names.index(user_input_names(FEATURES)[0])
    np.testing.assert_array_equal(found.inputs[0, start : start + len(found.user_inputs)], found.user_inputs)


def test_given_candidates_are_ranked_as_given(shop: Shop) -> None:
    """Rank takes the caller's items, less the excluded ones."""
    catalog = Catalog.of_table(shop.items, NOW_MS)
    user = cold_user_state("x", FEATURES)
    given = np.array([3, 0, 5])
    excluded = np.arange(20) == 0
    found = build_list(user, np.zeros(0, np.int64), catalog, excluded, shop.pairs, None, SMALL, given)
    assert found.rows.tolist() == [3, 5]
    assert found.sources == ("given", "given")


def test_an_empty_catalogue_gives_an_empty_list() -> None:
    """No item yet is a legal state of a new app."""
    table = ItemTable(FEATURES)
    catalog = Catalog.of_table(table, NOW_MS)
    user = cold_user_state("x", FEATURES)
    found = build_list(user, np.zeros(0, np.int64), catalog, catalog.excluded, CoVisitation(4), None, SMALL)
    assert found.inputs.shape == (0, len(ranker_input_names(FEATURES)))


def test_popularity_order_puts_the_most_liked_first(shop: Shop) -> None:
    """Item 19 has the most likes."""
    assert popularity_order(shop.items.counts(NOW_MS))[:3].tolist() == [19, 18, 17]


def test_a_removed_or_expired_item_is_excluded(shop: Shop) -> None:
    """Unavailable from the record on."""
    shop.items.remove_item("i19")
    shop.items.set_item("i18", [], expires_time_ms=NOW_MS - 1)
    assert Catalog.of_table(shop.items, NOW_MS).excluded.nonzero()[0].tolist() == [18, 19]


def test_table_rows_map_a_version_onto_the_table(shop: Shop) -> None:
    """A version that knows items 5 and 2, in that order, reads their counters."""
    catalog = Catalog.of_table(shop.items, NOW_MS, np.array([5, 2]))
    assert catalog.counts[:, 0, 1].tolist() == [5.0, 2.0]


def test_a_feast_row_and_the_in_process_table_give_the_same_user(shop: Shop) -> None:
    """History, counts and categories agree between the two ways."""
    expected = shop.users.state("u", NOW_MS + 1)
    epoch_row = []
    for half_life_s in FEATURES.half_lives_s:
        epoch_ms = 40_000 * half_life_s
        epoch = (NOW_MS + 1) // epoch_ms
        sums = sum(2.0 ** ((NOW_MS + k - epoch * epoch_ms) / (1000 * half_life_s)) for k in (0, 1))
        epoch_row += [epoch, sums, sums, 0.0, 0.0, 0.0, 0.0]
    row = {
        "user_counters": epoch_row,
        "user_category_names": ["b"],
        "user_category_counts": epoch_row[-7:],
        "user_history_item_ids": ["i1", "i0"],
        "user_history_outcomes": [1, 1],
        "user_history_times_ms": [NOW_MS + 1, NOW_MS],
    }
    state = user_state_from_row("u", row, {"i0", "i1"}, NOW_MS + 1, FEATURES)
    np.testing.assert_allclose(state.counts, expected.counts)
    np.testing.assert_allclose(state.category_counts["b"], expected.category_counts["b"])
    assert state.history_item_ids == expected.history_item_ids
    assert state.is_known


@pytest.mark.parametrize("bad", [None, [1.0], [float("nan")] * 28])
def test_a_misshapen_feast_row_counts_as_nothing(bad: list[float] | None) -> None:
    """A bad row degrades to a cold user instead of failing the request."""
    state = user_state_from_row("u", {"user_counters": bad}, set(), NOW_MS, FEATURES)
    assert state.counts.sum() == 0.0
    assert not state.is_known


def test_the_schema_hash_changes_with_the_half_lives() -> None:
    """Another set of half-lives is another schema."""
    assert feature_schema_hash(FEATURES) != feature_schema_hash(FeaturesConfig(half_lives_s=(60.0,)))
