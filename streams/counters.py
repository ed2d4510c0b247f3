"""Forward-decayed counters at every half-life, as one call of `DECAYED_SUMS` (java/DecayedSums.java).

An event at time t weighs 2^((t - landmark) / half_life), landmark = start of its epoch of 40 half-lives (Cormode et
al. 2009, "Forward decay"): sums do not depend on the order of arrival and never overflow. A row carries this and the
previous epoch of every half-life, 7 numbers each, in the order of `features.half_lives_s`.
"""

from __future__ import annotations

from collections.abc import Sequence

from features.config import EPOCH_HALF_LIVES, AppConfig
from streams.sql_text import literal

EVENT_AMOUNTS = (
    "CAST(1 AS DOUBLE)",
    "CASE WHEN `outcome` = 1 THEN CAST(1 AS DOUBLE) ELSE CAST(0 AS DOUBLE) END",
    "CASE WHEN `outcome` = -1 THEN CAST(1 AS DOUBLE) ELSE CAST(0 AS DOUBLE) END",
)
"""What one event adds: events, positives, negatives."""


def decayed_sums(half_lives_s: Sequence[float], amounts: Sequence[str], time: str = "`event_time_ms`") -> str:
    """Return the call that sums `amounts` (SQL, DOUBLE) decayed at each half-life."""
    spans = ",".join(repr(seconds * 1000.0) for seconds in half_lives_s)
    return f"DECAYED_SUMS({literal(spans)}, {time}, {', '.join(amounts)})"


def event_counters(app: AppConfig) -> str:
    """Return the call that counts events, positives and negatives."""
    return decayed_sums(app.features.half_lives_s, EVENT_AMOUNTS)


def longest_epoch_ms(app: AppConfig) -> int:
    """Return the length of the longest half-life's epoch."""
    return round(EPOCH_HALF_LIVES * app.features.half_lives_s[-1] * 1000.0)
