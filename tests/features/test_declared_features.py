"""A declaration says one thing, or is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from features.config import AppConfig, ConfigError, FeaturesConfig, validate
from features.declared_features import RESERVED_NAMES, check_names, input_names, of_entity, row_width
from features.feature_topics import FEATURE_TOPICS
from features.model_inputs import ranker_input_names
from tests.features.declared import DECLARED, DECLARING, feature

COUNT = {"entity": "user", "aggregation": "count"}


def declare(name: str, **fields: Any) -> AppConfig:
    """Read a configuration that declares one feature, a count of a user unless said."""
    actions = {"like": {"outcome": "positive"}, "view": {}}
    data = {"actions": actions, "features": {"declared": {name: {**COUNT, **fields}}}}
    return validate(data, AppConfig, "headrace.yaml")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"aggregation": "cuont"}, r"user_x\.aggregation: unknown value 'cuont' \(did you mean 'count'\?\)"),
        ({"entity": "usr"}, r"user_x\.entity: unknown value 'usr' \(did you mean 'user'\?\)"),
        ({"half_life_s": [60]}, r"unknown key 'features\.declared\.user_x\.half_life_s' \(did you mean 'half_lives_s'"),
        ({"actions": ["lke"]}, r"user_x: unknown action 'lke' \(did you mean 'like'\?\)"),
        ({"aggregation": "ratio", "positives": ["veiw"]}, r"unknown action 'veiw' \(did you mean 'view'\?\)"),
        ({"when": "value = 4"}, r"'value = 4' is not a condition; write for example 'value >= 4'"),
        ({"when": f"value >= {'9' * 400}"}, r"999' is not a condition; write for example 'value >= 4'"),
        ({"aggregation": "max", "window_s": 60}, r"max takes neither half_lives_s nor window_s; only count, sum"),
        ({"window_s": 60, "half_lives_s": [60]}, r"exclude each other; declare two features"),
        ({"half_lives_s": [60, 10]}, r"half_lives_s must ascend .* not \[60\.0, 10\.0\]"),
        ({"half_lives_s": [60, 60]}, r"half_lives_s must ascend"),
        ({"half_lives_s": [0.5]}, r"between 1 s and 31536000 s, not \[0\.5\]"),
        ({"half_lives_s": [float("nan")]}, r"between 1 s and 31536000 s, not \[nan\]"),
        ({"half_lives_s": [60, float("inf")]}, r"between 1 s and 31536000 s, not \[60\.0, inf\]"),
        ({"half_lives_s": [60.0005]}, r"must be whole milliseconds, not \[60\.0005\]"),
        ({"window_s": 0}, r"window_s must .* between 1 s"),
        ({"window_s": 40_000_000}, r"window_s must .* not \[40000000\.0\]"),
        ({"window_s": 1.00001}, r"window_s must be whole milliseconds"),
        ({"aggregation": "ratio"}, r"`positives` belongs to `aggregation: ratio`, and ratio needs it"),
        ({"positives": ["like"]}, r"`positives` belongs to `aggregation: ratio`"),
        ({"aggregation": "ratio", "positives": ["like"], "actions": ["view"]}, r"\['like'\] are not among the actions"),
        ({"aggregation": "distinct"}, r"`of` belongs to `aggregation: distinct`, and distinct needs it"),
        ({"aggregation": "distinct", "of": "item"}, r"of: unknown value 'item' \(did you mean 'item_id'\?\)"),
        ({"aggregation": "ratio", "positives": ["like"], "prior": 1}, r"prior: Input should be less than 1"),
        ({"aggregation": "ratio", "positives": ["like"], "scale": 2}, "ratio takes no scale: it is no amount"),
        ({"scale": 0}, r"scale: Input should be greater than 0"),
    ],
)
def test_a_mistake_is_named_with_its_mend(fields: dict[str, Any], said: str) -> None:
    """Each planted one, in one sentence that names the key and what was meant."""
    with pytest.raises(ConfigError, match=said) as raised:
        declare("user_x", **fields)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["item_views", "views", "user_", "user_Views", "user_1", f"user_{'x' * 60}", "user_ü"])
def test_a_name_says_its_entity(name: str) -> None:
    """In lower case, short enough for every store."""
    with pytest.raises(ConfigError, match="a feature of entity user is called user_<what>"):
        declare(name)


def test_names_of_headraces_own_are_taken() -> None:
    """A feature called like a field or a model input would overwrite it."""
    fields = {name for topic in FEATURE_TOPICS for name in (topic.join_key, *topic.fields)}
    names = {name for name in fields.union(ranker_input_names(FeaturesConfig())) if name.startswith(("user_", "item_"))}
    users = [name for name in names if name.startswith("user_")]
    assert RESERVED_NAMES.intersection(users)
    for name in users:
        with pytest.raises(ConfigError, match=f"'{name}' is a name of Headrace's own"):
            declare(name)
    assert {name for name in names if "_decay_" not in name} <= RESERVED_NAMES


def test_half_lives_do_not_make_another_features_name() -> None:
    """`user_x` at 60 s and `user_x_60s` would be two inputs of one name."""
    declared = {"user_x": feature("user", "count", half_lives_s=[60, 600]), "user_x_60s": feature("user", "count")}
    with pytest.raises(ValueError, match="'user_x' gives a model input 'user_x_60s'"):
        check_names(declared)


@pytest.mark.parametrize(
    ("fields", "width", "num_values"),
    [
        ({"aggregation": "count"}, 1, 1),
        ({"aggregation": "mean"}, 2, 1),
        ({"aggregation": "sum", "half_lives_s": [60, 600, 3600]}, 9, 3),
        ({"aggregation": "ratio", "positives": ["like"], "window_s": 60}, 5, 1),
        ({"aggregation": "max"}, 2, 1),
        ({"aggregation": "last"}, 2, 1),
        ({"aggregation": "distinct", "of": "item_id"}, 1, 1),
        ({"aggregation": "time_since_last"}, 1, 1),
    ],
)
def test_widths_follow_spans_and_sums(fields: dict[str, Any], width: int, num_values: int) -> None:
    """A span has its epoch and two sums an amount."""
    declared = declare("user_x", **fields).features.declared["user_x"]
    assert (declared.width, declared.num_values) == (width, num_values)


def test_the_row_of_an_entity_is_as_wide_as_its_features() -> None:
    """Each entity has its own."""
    assert [row_width(DECLARED, entity) for entity in ("user", "item", "global")] == [3 + 6 + 2, 2 + 2 + 1 + 5 + 1, 1]
    assert list(of_entity(DECLARED, "user")) == ["user_views", "user_spent", "user_last_rating"]


def test_inputs_of_several_half_lives_are_named_by_seconds() -> None:
    """Long ones are written out."""
    assert input_names("user_x", feature("user", "sum", half_lives_s=[1.5, 2_592_000])) == (
        "user_x_1.5s",
        "user_x_2592000s",
    )
    assert input_names("user_x", feature("user", "sum", half_lives_s=[60])) == ("user_x",)
    assert {"user_spent_3600s", "user_spent_86400s", "user_views"} <= set(ranker_input_names(DECLARING))


def test_an_event_is_taken_by_action_condition_and_value() -> None:
    """All three must hold; what adds up values passes over events without one."""
    liked = feature("user", "count", actions=["like"], when="value >= 4")
    events = [("like", 4.0), ("view", 4.0), ("like", 3.9), ("like", None)]
    assert [liked.takes(action, value) for action, value in events] == [True, False, False, False]
    for aggregation in ("count", "sum", "mean", "max", "last", "time_since_last"):
        takes_all = aggregation in ("count", "time_since_last")
        assert feature("user", aggregation).takes("view", None) is takes_all


def test_the_definition_is_the_meaning() -> None:
    """Neither the description nor the order of actions is part of it, all else is."""
    first = feature("user", "count", actions=["a", "b"])
    same = feature("user", "count", actions=["b", "a"], description="More words.")
    others: list[dict[str, Any]] = [
        {"actions": ["a"]},
        {"actions": ["a", "b"], "window_s": 60},
        {"actions": ["a", "b"], "when": "value > 1"},
    ]
    assert first.definition() == same.definition()
    assert len({first.definition(), *(feature("user", "count", **fields).definition() for fields in others)}) == 4


def test_a_scale_is_another_meaning_and_none_is_the_meaning_of_old_stores() -> None:
    """The definition of a feature without a scale is what it was before there were any."""
    plain, scaled = (feature("user", "count", **fields) for fields in ({}, {"scale": 9.0}))
    assert plain.definition() == feature("user", "count", scale=1.0).definition() == "1a1697d808516373"
    assert scaled.definition() != plain.definition()
