"""What became of the calls: HDR histograms of latencies, and counts; tallies of several processes add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from hdrh.histogram import HdrHistogram

from compose.load.calls import Call

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 600_000_000, 3
"""From a microsecond to ten minutes, each value within a thousandth."""


def _histogram() -> Any:
    return HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)


@dataclass
class Tally:
    """The calls of one process, or of several together."""

    latencies: Any = field(default_factory=_histogram)
    """Microseconds from due to answered; a call without an answer counts as the whole deadline at least."""
    lags: Any = field(default_factory=_histogram)
    """Microseconds by which calls were sent too late: the generator's own fault."""
    codes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Degraded reasons of answers."""
    short: int = 0
    """Answers with fewer items than asked for, an item twice or a score that is not finite."""
    unranked: int = 0
    """Answers that no model ranked."""

    def add(self, call: Call, deadline_s: float) -> None:
        """Count one call."""
        is_answer = call.code == "OK"
        ms = call.ms if is_answer else max(call.ms, deadline_s * 1e3)
        self.latencies.record_value(_in_range(ms))
        self.lags.record_value(_in_range(call.lag_ms))
        self.codes[call.code] += 1
        self.reasons.update(call.reasons)
        self.short += is_answer and not call.is_valid
        self.unranked += is_answer and not call.is_ranked

    def merge(self, other: Self) -> None:
        """Add another tally to this one."""
        self.latencies.add(other.latencies)
        self.lags.add(other.lags)
        self.codes.update(other.codes)
        self.reasons.update(other.reasons)
        self.short += other.short
        self.unranked += other.unranked

    def to_wire(self) -> dict[str, Any]:
        """Return it as JSON can carry it between processes."""
        return {
            "latencies": self.latencies.encode().decode(),
            "lags": self.lags.encode().decode(),
            "codes": dict(self.codes),
            "reasons": dict(self.reasons),
            "short": self.short,
            "unranked": self.unranked,
        }

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_wire` made."""
        tally = cls(
            codes=Counter(data["codes"]),
            reasons=Counter(data["reasons"]),
            short=data["short"],
            unranked=data["unranked"],
        )
        # An empty histogram does not survive the way there.
        if tally.calls:
            tally.latencies.decode_and_add(data["latencies"].encode())
            tally.lags.decode_and_add(data["lags"].encode())
        return tally

    @property
    def calls(self) -> int:
        """How many calls were counted."""
        return sum(self.codes.values())

    @property
    def error_share(self) -> float:
        """The share of the calls that had no answer."""
        return 1.0 - self.codes["OK"] / self.calls if self.calls else 0.0

    def latency_ms(self, percentile: float) -> float:
        """Return a percentile of the latencies."""
        return float(self.latencies.get_value_at_percentile(percentile)) / 1e3

    def lag_ms(self, percentile: float) -> float:
        """Return a percentile of how late calls were sent."""
        return float(self.lags.get_value_at_percentile(percentile)) / 1e3


def _in_range(ms: float) -> int:
    return min(max(int(ms * 1e3), _LOWEST_US), _HIGHEST_US)
