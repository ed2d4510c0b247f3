"""What a load run tells, and which of its thresholds it missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from compose.load.process import Plan
from compose.load.tally import PERCENTILES, Tally

_LATE_MS = 10.0
"""A generator whose own lateness reaches this at p99 measures itself."""


@dataclass(frozen=True)
class Thresholds:
    """What a run must hold; None: it may be anything."""

    max_p99_ms: float | None = None
    max_error_share: float | None = None

    def missed(self, tally: Tally) -> list[str]:
        """Say which are missed, one sentence each."""
        found = []
        if self.max_p99_ms is not None and (p99_ms := tally.latency_ms(99.0)) > self.max_p99_ms:
            found.append(f"p99 is {p99_ms:.1f} ms, above --max-p99-ms {self.max_p99_ms:g}")
        if self.max_error_share is not None and tally.error_share > self.max_error_share:
            found.append(f"{tally.error_share:.2%} failed, above --max-error-share {self.max_error_share:g}")
        return found


def is_late(tally: Tally) -> bool:
    """Say whether the generator itself was too slow for what it was asked to do."""
    return tally.lag_ms(99.0) > _LATE_MS


def to_json(plan: Plan, processes: int, tally: Tally, missed: Sequence[str]) -> dict[str, Any]:
    """Return a run as a JSON object."""
    return {
        "arrival": plan.arrival,
        "target_rps": plan.rate,
        "seconds": plan.seconds,
        "processes": processes,
        "calls": tally.calls,
        "answered_rps": tally.codes["OK"] / plan.seconds,
        "error_share": tally.error_share,
        "codes": dict(tally.codes),
        "latency_ms": {f"p{percentile:g}": tally.latency_ms(percentile) for percentile in PERCENTILES}
        | {"max": tally.latencies.get_max_value() / 1e3 if tally.calls else 0.0},
        "client_late_p99_ms": tally.lag_ms(99.0),
        "degraded_reasons": dict(tally.reasons),
        "short_lists": tally.short,
        "unranked": tally.unranked,
        "missed": list(missed),
    }


def print_report(found: dict[str, Any]) -> None:
    """Print a run."""
    table = Table(title=f"{found['calls']:,} calls in {found['seconds']:g} s, {found['arrival']}", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("answered a second (asked for)", f"{found['answered_rps']:.1f} ({found['target_rps']:g})")
    for name, ms in found["latency_ms"].items():
        table.add_row(f"latency from due to answered, {name}", f"{ms:,.2f} ms")
    table.add_row("calls without an answer", _counts({k: n for k, n in found["codes"].items() if k != "OK"}) or "0")
    table.add_row("degraded answers by reason", _counts(found["degraded_reasons"]) or "0")
    table.add_row("answers with too few items", str(found["short_lists"]))
    table.add_row("answers that no model ranked", str(found["unranked"]))
    table.add_row("generator late, p99", f"{found['client_late_p99_ms']:.2f} ms")
    Console(highlight=False).print(table)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
