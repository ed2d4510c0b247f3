"""What is wrong is one sentence, with a mend, worst first."""

from __future__ import annotations

from typing import Any

from compose.dashboard.problems import gate_problem, problems
from compose.status import PartReport, StackReport

SERVING = {"version": "1.2", "is_following": True, "is_full_quality": True}


def report(**changes: Any) -> StackReport:
    """A stack in which all is well but for the changes."""
    well: dict[str, Any] = {"parts": [PartReport("trainer", "ready", 7, 0)], "jobs": {"a-feature-job": "RUNNING"}}
    return StackReport("state", {}, **{**well, "model": SERVING, **changes})


def texts(found: StackReport | None, silent: tuple[str, ...] = (), kafka: str = "") -> list[str]:
    """The sentences."""
    return [one.text for one in problems(found, silent, kafka)]


def test_nothing_is_wrong_where_all_is_well() -> None:
    """No warning without a cause."""
    assert texts(report()) == []


def test_a_dead_part_comes_before_a_warning() -> None:
    """People mend the worst first."""
    died = report(parts=[PartReport("trainer", "died", None, 3)], quality={"dead_letters_of_a_day": {"too_old": 4}})
    assert texts(died) == ["trainer is died", "4 bad messages within a day, mostly too_old"]


def test_a_server_that_stays_behind_says_why() -> None:
    """A rollback is no fault, but nobody may forget it."""
    assert texts(report(model={**SERVING, "is_following": False, "follow_reason": "rollback to 1.1"})) == [
        "The server does not follow: rollback to 1.1"
    ]


def test_without_a_stack_silent_parts_are_told() -> None:
    """The parts may run on other machines; their files tell."""
    assert texts(None, ("trainer",), "no Kafka") == ["trainer writes no status", "no Kafka"]


def test_every_problem_says_what_to_do() -> None:
    """And where on the page more is told."""
    lag = report(lag={"trainer": 9000}, quality={"held_windows": 2}, model={"version": ""})
    found = problems(lag, (), "")
    assert len(found) == 3
    assert all(one.mend and one.view for one in found)


def test_a_held_version_is_told_with_its_reason() -> None:
    """Nothing is published until somebody decides."""
    held = gate_problem({"state": "HELD", "version": "1.9", "reason": "odd scores"})
    assert held is not None
    assert held.text == "Version 1.9 is held: odd scores"
    assert gate_problem({"state": "PASSED"}) is None
