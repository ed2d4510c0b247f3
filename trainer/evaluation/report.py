"""Outcomes as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from trainer.evaluation.inverse_propensity import ArmEstimate
from trainer.evaluation.outcome import Outcome, parts_of

MAX_DAYS = 31
"""Newest days printed."""

_DAY_COLUMNS = (
    ("organic", "events"),
    ("organic", "hr@10"),
    ("organic", "ndcg@10"),
    ("organic", "candidate_recall"),
    ("served", "requests"),
    ("served", "gauc"),
    ("served", "logloss"),
    ("labelled", "events"),
    ("labelled", "auc"),
    ("labelled", "logloss"),
)


def print_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print a table a part (organic, served, labelled): a row a method, the learner first."""
    found = [(outcome, outcome.parts()) for outcome in outcomes]
    for part in ("organic", "served", "labelled"):
        rows = [(outcome, parts[part]) for outcome, parts in found if part in parts]
        if rows:
            names = [name for name in rows[0][1] if name not in ("slices", "heads")]
            table = _table(part, ["", *names, "events/s"])
            for outcome, values in rows:
                cells = [_cell(values.get(name)) for name in names]
                table.add_row(outcome.name, *cells, f"{outcome.events_per_s:,.0f}")
            console.print(table)
            _print_told_apart(console, f"{part} by slice", rows[0][1].get("slices", {}))
            _print_told_apart(console, f"{part} by head", rows[0][1].get("heads", {}))
    if not any(parts for _, parts in found):
        console.print("nothing was scored: no known user had a positive event, no list settled, no event had a label")


def print_arms(console: Console, estimates: Mapping[str, ArmEstimate]) -> None:
    """Print a row an arm: reward a list as shown, and as it would be without draws."""
    table = _table("reward a list", ["arm", "lists", "observed", "without draws", "self-normalised", "effective lists"])
    for arm, one in estimates.items():
        observed = _interval(one.observed, one.observed_low, one.observed_high)
        without = _interval(one.without_draws, one.without_draws_low, one.without_draws_high)
        effective = f"{one.effective_lists:,.0f}"
        table.add_row(arm, f"{one.lists:,}", observed, without, f"{one.self_normalised:.4f}", effective)
    console.print(table)


def _interval(middle: float, low: float, high: float) -> str:
    return f"{middle:.4f} [{low:.4f}, {high:.4f}]"


def _print_told_apart(console: Console, title: str, told: Mapping[str, Mapping[str, float]]) -> None:
    """Print a row a slice of the traffic, or a head, of the learner alone."""
    if not told:
        return
    names = list(dict.fromkeys(name for values in told.values() for name in values))
    table = _table(title, ["", *names])
    for name_apart, values in sorted(told.items()):
        table.add_row(name_apart, *[_cell(values.get(name)) for name in names])
    console.print(table)


def print_days(console: Console, outcome: Outcome) -> None:
    """Print the learner's metrics of the newest days (UTC)."""
    days = [(day, parts_of(totals)) for day, totals in outcome.timeline.days.items()]
    shown = days[-MAX_DAYS:]
    columns = [(part, name) for part, name in _DAY_COLUMNS if any(part in parts for _, parts in shown)]
    if not columns:
        return
    left_out = f" (the newest {MAX_DAYS} of {len(days)})" if len(days) > MAX_DAYS else ""
    table = _table(f"by day, UTC{left_out}", ["day", *[f"{part} {name}" for part, name in columns]])
    for day, parts in shown:
        table.add_row(day, *[_cell(_value(parts, part, name)) for part, name in columns])
    console.print(table)


def _value(parts: Mapping[str, Mapping[str, Any]], part: str, name: str) -> Any:
    return parts.get(part, {}).get(name)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
