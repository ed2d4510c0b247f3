"""Labels of an event as SQL: the map of head -> 1 or 0 that `features.label_config.Labels.labels_of` says in Python."""

from __future__ import annotations

from features.label_config import LabelRule, Labels
from streams.sql_text import literal

NO_LABELS = "CAST(NULL AS MAP<STRING, DOUBLE>)"
_NOT_A_LABEL = "CAST(-1 AS DOUBLE)"


def labels_case(labels: Labels) -> str:
    """Return the SQL over `action`, `value` and `outcome`; null where an event teaches nothing."""
    # In the order of names: the order of a mapping in the configuration means nothing, and must not make another plan.
    branches = [_branch(action, _rules_of(labels, action)) for action in _actions(labels)]
    return "CASE `action`\n" + "\n".join(branches) + f"\n    ELSE {NO_LABELS} END"


def _actions(labels: Labels) -> list[str]:
    return sorted({rule.action for rule in labels.rules})


def _rules_of(labels: Labels, action: str) -> list[LabelRule]:
    return sorted((rule for rule in labels.rules if rule.action == action), key=lambda rule: (rule.head, rule.value))


def _branch(action: str, rules: list[LabelRule]) -> str:
    unconditional = all(rule.condition is None and rule.outcome is None for rule in rules)
    if unconditional:
        found = f"MAP[{', '.join(f'{literal(rule.head)}, {_number(rule)}' for rule in rules)}]"
    elif len(rules) == 1:
        found = f"CASE WHEN {_condition(rules[0])} THEN MAP[{literal(rules[0].head)}, {_number(rules[0])}] END"
    else:
        found = _several(rules)
    return f"    WHEN {literal(action)} THEN {found}"


def _several(rules: list[LabelRule]) -> str:
    # Both arrays keep their order and lose the same places, so heads and values stay together.
    heads = ", ".join(f"CASE WHEN {_condition(rule)} THEN {literal(rule.head)} ELSE '' END" for rule in rules)
    values = ", ".join(f"CASE WHEN {_condition(rule)} THEN {_number(rule)} ELSE {_NOT_A_LABEL} END" for rule in rules)
    any_holds = " OR ".join(_condition(rule) for rule in rules)
    kept_heads, kept_values = f"ARRAY_REMOVE(ARRAY[{heads}], '')", f"ARRAY_REMOVE(ARRAY[{values}], {_NOT_A_LABEL})"
    return f"CASE WHEN {any_holds} THEN MAP_FROM_ARRAYS({kept_heads}, {kept_values}) END"


def _condition(rule: LabelRule) -> str:
    if rule.outcome is not None:
        return f"`outcome` = {rule.outcome}"
    if rule.condition is None:
        return "TRUE"
    operator = "=" if rule.condition.operator == "==" else rule.condition.operator
    return f"(`value` IS NOT NULL AND `value` {operator} CAST({rule.condition.bound!r} AS DOUBLE))"


def _number(rule: LabelRule) -> str:
    return f"CAST({rule.value} AS DOUBLE)"
