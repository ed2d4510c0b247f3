"""Retention operator by operator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.compiled_plan import PlanError, StateRule, with_retention

JOIN = {"type": "stream-exec-join_1", "description": "Join(a = b)", "state": [{"ttl": "0 ms"}, {"ttl": "0 ms"}]}
OVER = {"type": "stream-exec-over-aggregate_1", "description": "OverAggregate(...)"}
CALC = {"type": "stream-exec-calc_1", "description": "Calc(...)"}


def _nodes(*nodes: dict[str, Any], rules: list[StateRule]) -> list[dict[str, Any]]:
    return list(json.loads(with_retention(json.dumps({"nodes": nodes}), rules))["nodes"])


def test_each_state_of_an_operator_has_its_own_retention() -> None:
    """Events are forgotten, items are not; stateless operators are left alone."""
    join, calc = _nodes(JOIN, CALC, rules=[StateRule("stream-exec-join", "a = b", (5, 0))])
    assert join["state"] == [{"ttl": "5 ms"}, {"ttl": "0 ms"}]
    assert calc == CALC


def test_over_aggregates_take_their_numbers_in_turn() -> None:
    """They have no state entry: the node's configuration goes before the job's."""
    nodes = _nodes(*[OVER] * 4, rules=[StateRule("stream-exec-over-aggregate", "", (1, 2))])
    kept = [node["configuration"]["table.exec.state.ttl"] for node in nodes]
    assert kept == ["1 ms", "2 ms", "1 ms", "2 ms"]


@pytest.mark.parametrize(
    ("nodes", "rules"),
    [
        ([JOIN], []),
        ([], [StateRule("stream-exec-join", "", (1, 2))]),
        ([JOIN], [StateRule("stream-exec-join", "", (1,))]),
        ([OVER] * 3, [StateRule("stream-exec-over-aggregate", "", (1, 2))]),
    ],
    ids=["uncovered operator", "idle rule", "wrong number of states", "half a turn"],
)
def test_a_plan_that_the_rules_do_not_fit_is_refused(nodes: list[dict[str, Any]], rules: list[StateRule]) -> None:
    """State whose retention nobody chose must not run."""
    with pytest.raises(PlanError):
        _nodes(*nodes, rules=rules)
