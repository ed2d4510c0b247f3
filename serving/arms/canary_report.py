"""What a canary tells of itself; read by processes that hold no model, so it imports none."""

from __future__ import annotations

import msgspec


class CanaryReport(msgspec.Struct, frozen=True):
    """What runs, for status and metrics; counts and means by arm, `stable` and `canary`."""

    version: str
    live_version: str
    share: float
    started_time_ms: int
    users: dict[str, int]
    failed_users: dict[str, int]
    ranking_ms: dict[str, float]
    reward: dict[str, float]
