"""Compiled Flink plans as JSON: state retention set operator by operator.

One `table.exec.state.ttl` for a whole job would either forget a user's history after two days or remember every
event_id for months. A compiled plan carries the retention of each operator, and gives each a stable uid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streams.errors import StreamsError

_CONFIGURED = ("stream-exec-over-aggregate", "stream-exec-process-table-function")
"""Stateful nodes without an entry of their own for it; a node's configuration goes before the job's."""


@dataclass(frozen=True)
class StateRule:
    """Retention for the stateful operators that match."""

    node_type: str
    """Type of the node without its version, for example `stream-exec-join`."""
    pattern: str
    """Regular expression searched in the node's description."""
    keep_ms: tuple[int, ...]
    """Milliseconds since the last write; one number per state of the operator, in Flink's order.
    For OVER aggregates and table functions, one number per matching operator in the order of the plan, over and over.
    """


class PlanError(StreamsError):
    """Unexpected: Flink compiled the statements to a plan that the retention rules do not fit."""


def with_retention(plan: str, rules: Sequence[StateRule]) -> str:
    """Return the plan with every stateful operator's retention set.

    Raises:
        PlanError: a stateful operator matches no rule, or a rule matches nothing.
    """
    document = json.loads(plan)
    seen = [0] * len(rules)
    for node in document["nodes"]:
        if "state" not in node and _node_type(node) not in _CONFIGURED:
            continue
        index = _matching_rule(node, rules)
        _retain(node, rules[index], seen[index])
        seen[index] += 1
    for rule, count in zip(rules, seen, strict=True):
        if not count or (rule.node_type in _CONFIGURED and count % len(rule.keep_ms)):
            raise PlanError(f"{count} operators match {rule.node_type} {rule.pattern!r}, which keeps {rule.keep_ms}")
    return json.dumps(document, indent=1)


def _node_type(node: dict[str, Any]) -> str:
    return str(node["type"]).rpartition("_")[0]


def _matching_rule(node: dict[str, Any], rules: Sequence[StateRule]) -> int:
    for index, rule in enumerate(rules):
        if rule.node_type == _node_type(node) and re.search(rule.pattern, node["description"]):
            return index
    raise PlanError(f"no retention rule for {node['type']}: {node['description']:.200}")


def _retain(node: dict[str, Any], rule: StateRule, count: int) -> None:
    if _node_type(node) in _CONFIGURED:
        keep_ms = rule.keep_ms[count % len(rule.keep_ms)]
        node["configuration"] = (node.get("configuration") or {}) | {"table.exec.state.ttl": f"{keep_ms} ms"}
        return
    if len(node["state"]) != len(rule.keep_ms):
        raise PlanError(f"{node['type']} has {len(node['state'])} states, the rule {rule.pattern!r} {rule.keep_ms}")
    for state, keep_ms in zip(node["state"], rule.keep_ms, strict=True):
        state["ttl"] = f"{keep_ms} ms"
