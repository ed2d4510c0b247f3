"""The end of a run: one dictionary for `--json`, one table for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from compose.demo.errors import DemoError

Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What decides over the exit code."""

    failed_requests: int
    unsent_events: int
    events_lost: int
    events_doubled: int

    @property
    def exit_code(self) -> int:
        """Return 0, or 1 where a request failed or an event was lost."""
        return int(any(asdict(self).values()))


def outcome_of(summary: Summary) -> Outcome:
    """Pick what decides over the exit code."""
    return Outcome(
        failed_requests=summary["failed_requests"],
        unsent_events=summary["events_unsent"],
        events_lost=summary["events_lost"],
        events_doubled=summary["events_doubled"],
    )


def write_json(path: Path, summary: Summary) -> None:
    """Write the summary whole or not at all.

    Raises:
        DemoError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise DemoError(
            f"cannot write the summary to {path}: {error.strerror}; name another file with --json"
        ) from error


def summary_table(summary: Summary) -> Table:
    """Return the table that ends a run."""
    table = Table(title=f"headrace demo: {summary['data']}, {summary['events']:,} events", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, figure in _rows(summary):
        table.add_row(name, figure)
    return table


def _rows(summary: Summary) -> list[tuple[str, str]]:
    visitor = summary["visitor"]
    rows = [
        ("HR@10 (decayed popularity)", f"{summary['hr@10']:.4f} ({summary['popularity_hr@10']:.4f})"),
        ("HR@10 of the last 80 %", f"{summary['hr@10_late']:.4f} ({summary['popularity_hr@10_late']:.4f})"),
        ("scored positives, cold ones skipped", f"{summary['scored']:,}, {summary['skipped_cold']:,}"),
        ("catalogue coverage", f"{100 * summary['coverage']:.1f} %"),
        ("model versions, swaps", f"{summary['model_versions']}, {summary['swaps']}"),
        ("event → feature p50, p99", _times(summary["event_to_feature_ms"])),
        ("event → served weights p50, p99", _times(summary["event_to_served_ms"])),
        ("Recommend p50, p99", _times(summary["recommend_ms"])),
        ("requests failed, retried", f"{summary['failed_requests']}, {summary['retried_requests']}"),
        ("events lost, doubled", f"{summary['events_lost']}, {summary['events_doubled']}"),
        ("visitors' lists, clicks a list", f"{visitor['lists']:,}, {visitor['clicks_per_list']:.3f}"),
        ("largest lag behind the users' pace", f"{summary['largest_lag_s']:.1f} s"),
        ("replay, whole run", f"{summary['replay_s']:.0f} s, {summary['wall_s']:.0f} s"),
    ]
    if summary["degraded"]:
        rows.append(("degraded answers", ", ".join(f"{n} {reason}" for reason, n in summary["degraded"].items())))
    if any(summary["restarts"].values()):
        rows.append(("restarts", ", ".join(f"{part} {n}" for part, n in summary["restarts"].items() if n)))
    return rows


def _times(times: Mapping[str, float | None]) -> str:
    if times["p50"] is None:
        return "not measured"
    return f"{times['p50']:,.0f} ms, {times['p99']:,.0f} ms"
