"""The items a user had an event with: one Redis sorted set per user, member item_id, score event_time_ms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def consumed_key(name: str, user_id: str) -> str:
    """Return the key of a user's set; `name` is the app's."""
    return f"headrace:{name}:consumed:{user_id}"


def queue_consumed(pipeline: Any, name: str, user_id: str, consumed: Mapping[str, int], limit: int) -> None:
    """Put the commands that add items (item_id -> event_time_ms) and keep the newest `limit` on a Redis pipeline."""
    if not consumed:
        return
    key = consumed_key(name, user_id)
    pipeline.zadd(key, dict(consumed))
    pipeline.zremrangebyrank(key, 0, -(limit + 1))
