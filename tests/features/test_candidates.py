"""Lists hold the right items, once each, with the declared inputs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from features.candidate_pool import Workspace
from features.candidates import CandidateList, UserRows, build_list, list_context
from features.config import CandidatesConfig, FeaturesConfig
from features.count_tables import CountTables
from features.item_summary import ItemSummary, popularity_order
from features.item_table import ItemTable
from features.model_inputs import (
    feature_schema_hash,
    first_pre_ranker_weights,
    pre_ranker_input_names,
    ranker_input_names,
    user_input_names,
)
from features.tower_scores import TowerQuery
from features.user_state import UserState, UserTable, cold_user_state
from tests.features.declared import DECLARED, DECLARING, feature
from tests.features.feature_records import counted

FEATURES = FeaturesConfig()
NOW_MS = 1_700_000_000_000
SMALL = FEATURES.model_copy(update={"candidates": CandidatesConfig(total=18, tower=3, fresh=2)})
NOTHING = np.zeros(0, np.int64)
TITLES = {3: "Alien", 5: "Alien Resurrection", 1: "Alien Three"}


class Shop:
    """Twenty items, item k liked k times, and one user who liked items 0 and 1 in that order."""

    def __init__(self, features: FeaturesConfig = SMALL) -> None:
        self.features = features
        self.items, self.users, self.counts = ItemTable(features), UserTable(features), CountTables.empty(features)
        self.workspace = Workspace()
        for k in range(20):
            self.items.set_item(f"i{k}", ["a" if k % 2 else "b"], published_time_ms=NOW_MS - 3_600_000 * (20 - k))
            self.counts.titles.set_title(k, TITLES.get(k, ""))
            for _ in range(k):
                self.items.add_event(k, counted(f"i{k}", NOW_MS), 1)
        for k in (0, 1):
            self.users.add_event(counted(f"i{k}", NOW_MS + k, f"e{k}"), ["b"], 1)
        self.counts.count_following(np.array([1]), 7)

    def list_for(
        self,
        user: UserState,
        consumed: NDArray[np.int64] = NOTHING,
        tower: TowerQuery | None = None,
        given: NDArray[np.int64] | None = None,
        rows: NDArray[np.int64] | None = None,
        allowed: NDArray[np.bool_] | None = None,
        keeps_pool: bool = True,
    ) -> CandidateList:
        """Build a list; `rows` are those of a version that knows them in this order."""
        self.counts.reserve(len(self.items))
        summary = ItemSummary.of_table(self.items, NOW_MS)
        own = np.arange(len(self.items)) if rows is None else rows
        of_table = np.full(len(self.items), -1)
        of_table[own] = np.arange(len(own))
        context = list_context(summary, self.items, self.counts, own, None if rows is None else of_table)
        history, shown = self.items.rows_of(user.history_item_ids), self.items.rows_of(user.shown_item_ids)
        user_rows, weights = UserRows(history, consumed, shown), first_pre_ranker_weights(self.features)
        return build_list(
            user, user_rows, context, NOW_MS, tower, self.features, weights, self.workspace, given, allowed, keeps_pool
        )


@pytest.fixture
def shop() -> Shop:
    """A filled shop."""
    return Shop()


def test_a_list_holds_each_allowed_item_once(shop: Shop) -> None:
    """Consumed items stay out, no row comes twice, and the names of the sources fit."""
    tower = TowerQuery(np.ones(1, np.float32), np.arange(20, dtype=np.float32)[::-1, None].copy())
    found = shop.list_for(shop.users.state("u", NOW_MS), np.array([0, 1]), tower)
    assert len(set(found.rows.tolist())) == len(found.rows) == len(found.sources) == 18
    assert not {0, 1} & set(found.rows.tolist())
    assert dict(zip(found.rows.tolist(), found.sources, strict=True))[7] == "covisitation"


def test_an_item_that_shares_rare_words_comes_in_by_its_content(shop: Shop) -> None:
    """Nobody touched the sequels together; they are named after their source and score above the rest of their like."""
    found = shop.list_for(shop.users.state("u", NOW_MS), np.array([0, 1]))
    sources = dict(zip(found.rows.tolist(), found.sources, strict=True))
    assert (sources[3], sources[5]) == ("content", "content")
    column = ranker_input_names(SMALL).index("title_similarity")
    similar = dict(zip(found.rows.tolist(), found.inputs[:, column].tolist(), strict=True))
    assert similar[3] > similar[19]


def test_the_newest_keep_their_places(shop: Shop) -> None:
    """A new item nobody touched stands in the list although every score is against it."""
    shop.items.set_item("new", published_time_ms=NOW_MS - 1, categories=[])
    assert shop.list_for(shop.users.state("u", NOW_MS)).rows[-1] == 20


def test_nothing_is_left_in_the_scratch_memory(shop: Shop) -> None:
    """Two lists alike are equal, and between them all is zero."""
    user = shop.users.state("u", NOW_MS)
    first, second = shop.list_for(user, np.array([0, 1])), shop.list_for(user, np.array([0, 1]))
    np.testing.assert_array_equal(first.inputs, second.inputs)
    assert not any(part.any() for part in (shop.workspace.marks, shop.workspace.visits, shop.workspace.profile))


def test_a_list_is_filled_wherever_there_are_enough_items(shop: Shop) -> None:
    """A wish that no source meets is met from all items."""
    allowed = np.arange(20) < 4
    found = shop.list_for(shop.users.state("u", NOW_MS), np.array([1]), allowed=allowed)
    assert sorted(found.rows.tolist()) == [0, 2, 3]


def test_inputs_follow_the_named_schema(shop: Shop) -> None:
    """Every list has one finite column per declared name and the user's part in it."""
    found = shop.list_for(shop.users.state("u", NOW_MS))
    names = ranker_input_names(SMALL)
    assert found.inputs.shape == (len(found.rows), len(names))
    assert found.pool_inputs.shape == (len(found.pool_rows), len(pre_ranker_input_names(SMALL)))
    assert len(found.user_inputs) == len(user_input_names(SMALL))
    assert np.isfinite(found.inputs).all()
    np.testing.assert_array_equal(found.inputs[:, names.index("pre_ranker_score")], found.pre_ranker_scores)
    start = names.index(user_input_names(SMALL)[0])
    np.testing.assert_array_equal(found.inputs[0, start : start + len(found.user_inputs)], found.user_inputs)


def test_pre_ranker_inputs_lie_where_they_are_named(shop: Shop) -> None:
    """What both rankers look at has one value: the columns of one name are equal."""
    found = shop.list_for(shop.users.state("u", NOW_MS), np.array([0, 1]))
    names, pre_names = ranker_input_names(SMALL), pre_ranker_input_names(SMALL)
    place = {row: index for index, row in enumerate(found.pool_rows.tolist())}
    pool = found.pool_inputs[[place[row] for row in found.rows.tolist()]]
    for name in set(names) & set(pre_names):
        np.testing.assert_allclose(
            pool[:, pre_names.index(name)], found.inputs[:, names.index(name)], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_a_list_is_the_same_whether_its_pool_is_kept_or_not() -> None:
    """A server lists what the trainer lists, to the last bit, with more items than are scored at a time."""
    shop = Shop(FEATURES.model_copy(update={"candidates": CandidatesConfig(total=40, tower=3, fresh=2)}))
    for k in range(20, 200):
        shop.items.set_item(f"i{k}", ["a", "c"][: k % 3], published_time_ms=NOW_MS - k * 86_400_000)
    tower = TowerQuery(np.ones(1, np.float32), np.random.default_rng(1).normal(size=(200, 1)).astype(np.float32))
    user = shop.users.state("u", NOW_MS)
    kept, cut = (shop.list_for(user, np.array([0, 1]), tower, keeps_pool=keeps) for keeps in (True, False))
    for name in ("rows", "source_codes", "inputs", "user_inputs", "pool_rows"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(cut, name), err_msg=name)
    assert (len(kept.pool_inputs), len(cut.pool_inputs)) == (len(kept.pool_rows), 0)


def test_a_list_is_the_same_where_an_index_names_all_rows(shop: Shop) -> None:
    """Products of single rows are those of all rows, in the pool as on the list."""
    random = np.random.default_rng(5)
    vectors, user_vector = random.integers(-3, 4, size=(20, 6)).astype(np.float32), np.ones(6, np.float32)
    user = shop.users.state("u", NOW_MS)
    queries = TowerQuery(user_vector, vectors), TowerQuery(user_vector, vectors, np.arange(20))
    exact, indexed = (shop.list_for(user, np.array([0, 1]), query) for query in queries)
    for name in ("rows", "source_codes", "inputs", "pool_rows", "pool_inputs"):
        np.testing.assert_array_equal(getattr(exact, name), getattr(indexed, name), err_msg=name)


def test_what_is_copied_from_the_pool_belongs_to_its_item(shop: Shop) -> None:
    """The list has another order than the pool: tower scores, titles and their ranks are those of the list's rows."""
    vectors = np.linspace(-1.0, 1.0, 20, dtype=np.float32)[::-1, None].copy()
    tower = TowerQuery(np.full(1, 2.0, np.float32), vectors)
    found = shop.list_for(shop.users.state("u", NOW_MS), np.array([0, 1]), tower)
    assert found.rows.tolist() != found.pool_rows[: len(found.rows)].tolist()
    column = {name: found.inputs[:, index] for index, name in enumerate(ranker_input_names(SMALL))}
    np.testing.assert_allclose(column["tower_score"], 2.0 * vectors[found.rows, 0], rtol=1e-6)
    resembles = np.isin(found.rows, [3, 5])  # The user's history holds "Alien Three".
    assert (column["title_similarity"][resembles] > column["title_similarity"][~resembles].max()).all()
    assert sorted(np.argsort(column["title_rank"])[:2]) == np.flatnonzero(resembles).tolist()
    in_a = found.rows % 2 == 1
    assert len({*column["category_positive_affinity"][in_a].tolist()}) == 1
    assert column["category_positive_affinity"][in_a][0] < column["category_positive_affinity"][~in_a][0]


def test_given_candidates_are_ranked_as_given(shop: Shop) -> None:
    """Rank takes the caller's items in their order."""
    found = shop.list_for(cold_user_state("x", SMALL), given=np.array([3, 5]))
    assert found.rows.tolist() == [3, 5]
    assert found.sources == ("given", "given")


def test_an_empty_catalogue_gives_an_empty_list() -> None:
    """No item yet is a legal state of a new app."""
    shop = Shop()
    shop.items, shop.counts = ItemTable(SMALL), CountTables.empty(SMALL)
    found = shop.list_for(cold_user_state("x", SMALL))
    assert found.inputs.shape == (0, len(ranker_input_names(SMALL)))


def test_popularity_order_puts_the_most_liked_first(shop: Shop) -> None:
    """Item 19 has the most likes."""
    assert popularity_order(shop.items, NOW_MS)[:3].tolist() == [19, 18, 17]


def test_a_removed_or_expired_item_is_not_listed(shop: Shop) -> None:
    """Unavailable from the record on."""
    shop.items.remove_item("i19")
    shop.items.set_item("i18", [], expires_time_ms=NOW_MS - 1)
    assert ItemSummary.of_table(shop.items, NOW_MS).leaders[:2].tolist() == [17, 16]
    assert not {18, 19} & set(shop.list_for(shop.users.state("u", NOW_MS)).rows.tolist())


def test_table_rows_map_a_version_onto_the_table(shop: Shop) -> None:
    """A version that knows items 5 and 2, in that order, reads their counters and lists no others."""
    shop.counts = CountTables.empty(SMALL)
    found = shop.list_for(cold_user_state("x", SMALL), rows=np.array([5, 2]))
    column = ranker_input_names(SMALL).index("item_events_decay_1h")
    events = np.expm1(found.inputs[np.argsort(found.rows), column])
    assert events.tolist() == pytest.approx([5.0, 2.0], rel=1e-3)


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


def test_the_order_of_declarations_means_nothing() -> None:
    """Moving a line of the file gives no column another place: weights are by place."""
    turned = FeaturesConfig(declared=dict(reversed(DECLARED.items())))
    assert ranker_input_names(turned) == ranker_input_names(DECLARING)
    assert feature_schema_hash(turned) == feature_schema_hash(DECLARING)


def test_no_two_inputs_share_a_name() -> None:
    """Declared or not."""
    names = ranker_input_names(DECLARING)
    assert len(set(names)) == len(names)


def test_exposure_and_declared_features_reach_the_ranker() -> None:
    """Each in the column of its name: the item's, the user's and the one of all."""
    shop = Shop(DECLARING)
    shop.items, shop.users, shop.counts = ItemTable(DECLARING), UserTable(DECLARING), CountTables.empty(DECLARING)
    for event in (counted("i1", NOW_MS, "a", action="view"), counted("i1", NOW_MS, "b", action="like")):
        shop.items.add_event(shop.items.ensure_row("i1"), event, 0)
        shop.users.add_event(event, (), 0)
    shop.items.add_shown(["i0", "i1"], NOW_MS)
    shop.users.add_shown("u", "r", NOW_MS, ["i0", "i1"])
    found = shop.list_for(shop.users.state("u", NOW_MS), given=shop.items.rows_of(["i1"]))
    inputs = dict(zip(ranker_input_names(DECLARING), found.inputs[0].tolist(), strict=True))
    expected = {
        "item_lists_decay_1h": 1.0,
        "user_item_shown": 1.0,
        "user_views": 1.0,
        "item_audience": 1.0,
        "global_likes": 1.0,
    }
    assert {name: pytest.approx(np.log1p(value), rel=1e-3) for name, value in expected.items()} == {
        name: inputs[name] for name in expected
    }
    assert inputs["item_like_share"] == pytest.approx(np.log((1 + 2) / (2 + 20) / 0.1))
