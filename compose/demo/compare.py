"""`--compare`: four methods over the last 80 % of the same events in the same order, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from compose.demo.bootstrap import Interval, paired_bootstrap

POPULARITY = "decayed popularity"
COUNTERS = "counters only (hand-weighted, live)"
FROZEN = "frozen after 20 % (features live)"
LIVE = "live"
_JSON_NAMES = {POPULARITY: "popularity", COUNTERS: "counters", FROZEN: "frozen", LIVE: "live"}


@dataclass(frozen=True)
class Comparison:
    """Hit rates by method, and how far live is above each other one."""

    events: int
    """Scored events in the last 80 %."""
    hit_rates: Mapping[str, float]
    live_minus: Mapping[str, Interval]
    frozen_version: str

    @property
    def is_won(self) -> bool:
        """Say whether live is above popularity and above frozen with the whole interval."""
        return self.live_minus[POPULARITY].is_above_zero and self.live_minus[FROZEN].is_above_zero

    def to_json(self) -> dict[str, Any]:
        """Return the figures for the summary."""
        return {
            "events": self.events,
            "frozen_version": self.frozen_version,
            "hr@10_late": {_JSON_NAMES[name]: round(rate, 5) for name, rate in self.hit_rates.items()},
            "live_minus": {
                _JSON_NAMES[name]: {
                    "difference": round(interval.difference, 5),
                    "low": round(interval.low, 5),
                    "high": round(interval.high, 5),
                }
                for name, interval in self.live_minus.items()
            },
            "live_above_popularity_and_frozen": self.is_won,
        }

    def table(self) -> Table:
        """Return the four lines."""
        table = Table(title=f"HR@10 over the last 80 % ({self.events:,} scored events)", title_justify="left")
        table.add_column("method")
        table.add_column("HR@10", justify="right")
        table.add_column("live minus this, 95 % paired bootstrap", justify="right")
        for name, rate in self.hit_rates.items():
            interval = self.live_minus.get(name)
            shown = f"{interval.difference:+.4f}  [{interval.low:+.4f}, {interval.high:+.4f}]" if interval else ""
            table.add_row(name, f"{rate:.4f}", shown)
        return table


def compare_methods(
    hits: Mapping[str, NDArray[np.bool_]], late: NDArray[np.bool_], frozen_version: str, seed: int
) -> Comparison:
    """Compare live with the other methods on the events marked in `late`.

    Args:
        hits: method name -> (size,) hits per planned event; holds `LIVE`.
        late: (size,) scored events of the last 80 %.
        frozen_version: version that the frozen server was pinned at.
        seed: of the bootstrap.
    """
    live = hits[LIVE][late]
    return Comparison(
        events=int(late.sum()),
        hit_rates={name: float(method[late].mean()) if late.any() else 0.0 for name, method in hits.items()},
        live_minus={name: paired_bootstrap(live, method[late], seed) for name, method in hits.items() if name != LIVE},
        frozen_version=frozen_version,
    )
