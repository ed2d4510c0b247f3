"""Event → feature: poll the user's row in the online store until it carries a given event.

The rows are Feast's own in Redis, read with two commands instead of through Feast: its import costs 4.6 s and 206 MB,
which the demo would take from the stack that it measures. A test holds key and field names against Feast's code.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import mmh3
from redis.asyncio import Redis
from redis.exceptions import RedisError

from features.redis_settings import redis_settings

POLL_S = 0.005
GIVE_UP_S = 10.0

_STRING = 2
"""Feast's `ValueType.STRING` in serialized entity keys."""
_INT64_TAG = 0x20
"""Field 4 of Feast's `Value` message, varint."""

USER_ROW_TIMES = (("user_activity", "user_activity_event_time_ms"),)
"""Views and fields that name the newest event inside the user's rows."""

ReadTimes = Callable[[str], Awaitable[list[int]]]
"""Returns the newest event times of a user's rows, 0 where there is none."""


def entity_redis_key(project: str, join_key: str, entity_id: str) -> bytes:
    """Return Feast's Redis key of one entity (entity key serialization version 3)."""
    name, value = join_key.encode(), entity_id.encode()
    head = struct.pack("<III", 1, _STRING, len(name)) + name
    return head + struct.pack("<II", _STRING, len(value)) + value + project.encode()


def hash_field(view: str, field: str) -> bytes:
    """Return Feast's Redis hash field of one feature."""
    return struct.pack("<I", mmh3.hash(f"{view}:{field}", signed=False))


def decode_int64(value: bytes | None) -> int:
    """Read an `int64_val` out of a serialized Feast value; 0 where it is missing."""
    if not value or value[0] != _INT64_TAG:
        return 0
    number = 0
    for position, byte in enumerate(value[1:]):
        number |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            break
    return number


class UserRowTimes:
    """Reads how new the user's rows in the online store are.

    Args:
        address: `host:port` of Redis.
        project: the Feast project.
    """

    def __init__(self, address: str, project: str) -> None:
        self._redis: Any = Redis(**redis_settings(address), socket_timeout=0.5, socket_connect_timeout=0.5)
        self._project = project
        self._fields = [hash_field(view, field) for view, field in USER_ROW_TIMES]

    async def read(self, user_id: str) -> list[int]:
        """Return the newest event times of the user's rows, 0 where there is none or Redis does not answer."""
        try:
            values = await self._redis.hmget(entity_redis_key(self._project, "user_id", user_id), self._fields)
        except (RedisError, OSError):
            return [0 for _ in self._fields]
        return [decode_int64(value) for value in values]

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()


class FeatureFreshness:
    """Times sampled events from acknowledgement to readable rows.

    Args:
        read_times: reads a user's rows.
        clock: seconds that only go forward.
    """

    def __init__(self, read_times: ReadTimes, clock: Callable[[], float] = time.perf_counter) -> None:
        self._read_times = read_times
        self._clock = clock
        self.latencies_ms: list[float] = []
        self.num_given_up = 0

    async def time_event(self, user_id: str, event_time_ms: int, acked_s: float) -> None:
        """Poll until every row of the user carries the event, and note how long that took since `acked_s`."""
        while self._clock() - acked_s < GIVE_UP_S:
            if min(await self._read_times(user_id)) >= event_time_ms:
                self.latencies_ms.append(1000.0 * (self._clock() - acked_s))
                return
            await asyncio.sleep(POLL_S)
        self.num_given_up += 1
