"""SQL of declared features: what is asked for is what is written. Values are the oracle's business."""

from __future__ import annotations

from features.declared_features import DeclaredFeature
from streams.declared_sql import declared_columns, declared_row

DECLARED = {
    "user_spent": DeclaredFeature(entity="user", aggregation="sum", actions=("purchase",), half_lives_s=(3600,)),
    "item_users": DeclaredFeature(entity="item", aggregation="distinct", of="user_id", when="value >= 4"),
}


def test_an_entity_gets_only_its_own_features() -> None:
    """Columns and expressions come in the same order, one each."""
    assert declared_columns(DECLARED, "user") == "`features` ROW<`user_spent` ARRAY<DOUBLE>>"
    assert "APPROX_DISTINCT" not in declared_row(DECLARED, "user")


def test_nothing_declared_is_no_column() -> None:
    """An entity without features has neither column nor expression."""
    assert (declared_columns(DECLARED, "global"), declared_row(DECLARED, "global")) == ("", "")


def test_events_that_are_taken_back_are_subtracted_from_sums_only() -> None:
    """A sum follows the sign; what cannot be taken back looks at first arrivals."""
    both = DECLARED | {"user_value": DeclaredFeature(entity="user", aggregation="last")}
    sums, newest = declared_row(both, "user", one="`sign`", anew="`sign` = 1").split(", NEWEST_VALUE")
    assert "`value` * `sign`" in sums
    assert "`sign` = 1" in newest


def test_conditions_filter_events() -> None:
    """Actions and the condition on the value stand in the filter."""
    assert "FILTER (WHERE `value` >= CAST(4.0 AS DOUBLE))" in declared_row(DECLARED, "item")
    assert "`action` IN ('purchase') AND `value` IS NOT NULL" in declared_row(DECLARED, "user")


def test_a_filter_stands_at_its_aggregate() -> None:
    """Behind a cast or a COALESCE it would not be SQL."""
    last = DeclaredFeature(entity="user", aggregation="time_since_last", actions=("view",))
    row = declared_row({"user_last_view": last}, "user")
    assert "CAST(MAX(`event_time_ms`) FILTER (WHERE `action` IN ('view')) AS DOUBLE)" in row
