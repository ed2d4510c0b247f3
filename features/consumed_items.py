"""The items a user had an event with: one Redis sorted set per user, member item_id, score event_time_ms."""

from __future__ import annotations

from collections.abc import Mapping

from features.redis_channel import pack_command


def consumed_key(name: str, user_id: str) -> str:
    """Return the key of a user's set; `name` is the app's."""
    return f"headrace:{name}:consumed:{user_id}"


def consumed_commands(name: str, user_id: str, consumed: Mapping[str, int], limit: int) -> list[bytes]:
    """Return the packed commands that add items (item_id -> event_time_ms) and keep the newest `limit`."""
    if not consumed:
        return []
    key = consumed_key(name, user_id).encode()
    parts = [b"*%d\r\n$4\r\nZADD\r\n$%d\r\n%b\r\n" % (2 + 2 * len(consumed), len(key), key)]
    for item_id, time_ms in consumed.items():
        member, score = item_id.encode(), b"%d" % time_ms
        parts.append(b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(score), score, len(member), member))
    return [b"".join(parts), pack_command("ZREMRANGEBYRANK", key, 0, -(limit + 1))]
