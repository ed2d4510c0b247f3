"""Lists hold the right items, once each, with the declared inputs."""

from __future__ import annotations

import numpy as np
import pytest

from features.candidates import Catalog, build_list, popularity_order
from features.co_visitation import CoVisitation
from features.config import CandidatesConfig, FeaturesConfig
from features.item_table import ItemTable
from features.model_inputs import feature_schema_hash, ranker_input_names, user_input_names
from features.user_state import UserState, UserTable, cold_user_state
from tests.features.declared import DECLARING, feature
from tests.features.feature_records import counted

FEATURES = FeaturesConfig()
NOW_MS = 1_700_000_000_000
SMALL = FEATURES.model_copy(update={"candidates": CandidatesConfig(co_visitation=3, popularity=3, tower=3, fresh=2)})
NOTHING = np.zeros(0, np.int64)


class Shop:
    """Twenty items, item k liked k times, and one user who liked items 0 and 1 in that order."""

    def __init__(self) -> None:
        self.items, self.users, self.pairs = ItemTable(FEATURES), UserTable(FEATURES), CoVisitation(8)
        for k in range(20):
            self.items.set_item(f"i{k}", ["a" if k % 2 else "b"], published_time_ms=NOW_MS - 3_600_000 * (20 - k))
            for _ in range(k):
                self.items.add_event(k, counted(f"i{k}", NOW_MS), 1)
        for k in (0, 1):
            self.users.add_event(counted(f"i{k}", NOW_MS + k, f"e{k}"), ["b"], 1)
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
    found = build_list(user, shop.history(user), NOTHING, catalog, excluded, shop.pairs, tower, SMALL)
    assert len(set(found.rows.tolist())) == len(found.rows) == len(found.sources)
    assert not {0, 1} & set(found.rows.tolist())
    assert dict(zip(found.rows.tolist(), found.sources, strict=True))[7] == "covisitation"
    assert {"popularity", "tower", "covisitation"} <= set(found.sources)


def test_inputs_follow_the_named_schema(shop: Shop) -> None:
    """Every list has one finite column per declared name and the user's part in it."""
    user, catalog = shop.users.state("u", NOW_MS), Catalog.of_table(shop.items, NOW_MS)
    found = build_list(user, shop.history(user), NOTHING, catalog, catalog.excluded, shop.pairs, None, SMALL)
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
    found = build_list(user, NOTHING, NOTHING, catalog, excluded, shop.pairs, None, SMALL, given)
    assert found.rows.tolist() == [3, 5]
    assert found.sources == ("given", "given")


def test_an_empty_catalogue_gives_an_empty_list() -> None:
    """No item yet is a legal state of a new app."""
    table = ItemTable(FEATURES)
    catalog = Catalog.of_table(table, NOW_MS)
    user = cold_user_state("x", FEATURES)
    found = build_list(user, NOTHING, NOTHING, catalog, catalog.excluded, CoVisitation(4), None, SMALL)
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


def test_the_schema_hash_changes_with_the_half_lives() -> None:
    """Another set of half-lives is another schema."""
    assert feature_schema_hash(FEATURES) != feature_schema_hash(FeaturesConfig(half_lives_s=(60.0,)))


def test_the_schema_hash_changes_with_what_a_declared_feature_means() -> None:
    """Equal names are not enough; a description does not matter."""
    meanings = [{"actions": ["view"]}, {"actions": ["click"]}, {}]
    configs = [FeaturesConfig(declared={"user_seen": feature("user", "count", **fields)}) for fields in meanings]
    assert len({feature_schema_hash(config) for config in [FEATURES, *configs]}) == 4
    said = feature("user", "count", actions=["view"], description="What was viewed.")
    assert feature_schema_hash(FeaturesConfig(declared={"user_seen": said})) == feature_schema_hash(configs[0])


def test_no_two_inputs_share_a_name() -> None:
    """Declared or not."""
    names = ranker_input_names(DECLARING)
    assert len(set(names)) == len(names)


def test_exposure_and_declared_features_reach_the_ranker() -> None:
    """Each in the column of its name: the item's, the user's and the one of all."""
    items, users = ItemTable(DECLARING), UserTable(DECLARING)
    for event in (counted("i1", NOW_MS, "a", action="view"), counted("i1", NOW_MS, "b", action="like")):
        items.add_event(items.ensure_row("i1"), event, 0)
        users.add_event(event, (), 0)
    items.add_shown(["i0", "i1"], NOW_MS)
    users.add_shown("u", "r", NOW_MS, ["i0", "i1"])
    user, catalog = users.state("u", NOW_MS), Catalog.of_table(items, NOW_MS)
    shown, given = items.rows_of(user.shown_item_ids), items.rows_of(["i1"])
    found = build_list(user, NOTHING, shown, catalog, catalog.excluded, CoVisitation(8), None, DECLARING, given)
    inputs = dict(zip(ranker_input_names(DECLARING), found.inputs[0].tolist(), strict=True))
    expected = {
        "item_lists_decay_1m": 1.0,
        "user_item_shown": 1.0,
        "user_views": 1.0,
        "item_audience": 1.0,
        "global_likes": 1.0,
    }
    assert {name: pytest.approx(np.log1p(value), rel=1e-3) for name, value in expected.items()} == {
        name: inputs[name] for name in expected
    }
    assert inputs["item_like_share"] == pytest.approx(np.log((1 + 2) / (2 + 20) / 0.1))
