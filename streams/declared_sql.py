"""The SQL of features declared in `headrace.yaml`: one expression per feature, an array of its raw numbers.

Layouts are those of `features/declared_features.py`; every expression is a function of the set of events. Features and
actions stand in the order of their names: rows carry them by name, and the order of a mapping in the configuration must
not make another plan.
"""

from __future__ import annotations

from collections.abc import Mapping

from features.declared_features import OF_VALUES, DeclaredFeature, of_entity
from streams.counters import decayed_sums
from streams.sql_text import literal

_ONE = "CAST(1 AS DOUBLE)"
_ZERO = "CAST(0 AS DOUBLE)"


def declared_columns(declared: Mapping[str, DeclaredFeature], entity: str) -> str:
    """Return the type of the `features` column: a row with one array per feature; empty where none is declared."""
    fields = ", ".join(f"`{name}` ARRAY<DOUBLE>" for name in sorted(of_entity(declared, entity)))
    return f"`features` ROW<{fields}>" if fields else ""


def declared_row(declared: Mapping[str, DeclaredFeature], entity: str, one: str = _ONE, anew: str = "") -> str:
    """Return the expression of the `features` column; empty where none is declared.

    Args:
        declared: all features of the app.
        entity: whose features.
        one: what one event adds to a count (SQL, DOUBLE): its sign where events may be taken back.
        anew: SQL condition for "not taken back".
    """
    features = sorted(of_entity(declared, entity).items())
    return f"ROW({', '.join(_expression(feature, one, anew) for _, feature in features)})" if features else ""


def _expression(feature: DeclaredFeature, one: str, anew: str) -> str:
    if feature.num_sums:
        return _sums(feature, one)
    kept = _filter(feature, anew)
    if feature.aggregation == "last":
        return f"NEWEST_VALUE(`event_time_ms`, `event_id`, `value`){kept}"
    call = {
        "max": f"MAX(`value`){kept}",
        "distinct": f"APPROX_DISTINCT(`{feature.of}`){kept}",
        "time_since_last": f"CAST(MAX(`event_time_ms`){kept} AS DOUBLE)",
    }[feature.aggregation]
    seen = [f"SUM({one}){_filter(feature, '')}"] if feature.aggregation == "max" else []
    return _array([*seen, call])


def _sums(feature: DeclaredFeature, one: str) -> str:
    amounts, kept = _amounts(feature, one), _filter(feature, "")
    if feature.half_lives_s:
        return f"{decayed_sums(feature.half_lives_s, amounts)}{kept}"
    if feature.window_s is not None:
        window_ms = f"CAST({round(feature.window_s * 1000)} AS BIGINT)"
        return f"WINDOWED_SUMS({window_ms}, `event_time_ms`, {', '.join(amounts)}){kept}"
    return _array([f"SUM({amount}){kept}" for amount in amounts])


def _amounts(feature: DeclaredFeature, one: str) -> list[str]:
    """Return what one event adds to each sum."""
    if feature.aggregation == "ratio":
        names = ", ".join(literal(action) for action in sorted(feature.positives))
        return [f"CASE WHEN `action` IN ({names}) THEN {one} ELSE {_ZERO} END", one]
    value = "`value`" if one == _ONE else f"`value` * {one}"
    return {"count": [one], "sum": [value], "mean": [value, one]}[feature.aggregation]


def _array(calls: list[str]) -> str:
    return f"ARRAY[{', '.join(f'COALESCE({call}, {_ZERO})' for call in calls)}]"


def _filter(feature: DeclaredFeature, anew: str) -> str:
    conditions = [anew] if anew else []
    if feature.actions:
        conditions.append(f"`action` IN ({', '.join(literal(action) for action in sorted(feature.actions))})")
    if feature.condition is not None:
        operator = "=" if feature.condition.operator == "==" else feature.condition.operator
        conditions.append(f"`value` {operator} CAST({feature.condition.bound!r} AS DOUBLE)")
    if feature.aggregation in OF_VALUES:
        conditions.append("`value` IS NOT NULL")
    return f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
