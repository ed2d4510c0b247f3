"""The user rows of a running stack: Feast's row and the consumed set in one round trip."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Set
from typing import Any

from features.config import AppConfig, Endpoints
from features.consumed_items import consumed_key
from features.online_reader import UserRowReader
from features.redis_channel import pack_command
from serving.redis_reads import RedisReads


class RedisUserRows:
    """Reads users from Redis.

    Args:
        endpoints: where Redis is.
        app: name and declared features.
    """

    def __init__(self, endpoints: Endpoints, app: AppConfig) -> None:
        self._app = app
        self._reader = UserRowReader(app)
        self._reads = RedisReads(endpoints.redis_server)
        # Everything of an HMGET but the key is the same for every user.
        self._head = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(self._reader.fields))
        self._tail = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in self._reader.fields)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._reads.is_connected

    async def keep_open(self, retry_s: float = 0.25) -> None:
        """Connect again whenever the connection is gone, for good: health must not wait for traffic."""
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                await self._reads.connect()
            await asyncio.sleep(retry_s)

    def read(self, user_id: str) -> Awaitable[tuple[Mapping[str, Any], Set[str]]]:
        """Return Feast field -> value or None, and the items that the user had an event with.

        Raises:
            OSError: Redis cannot be reached.
            Exception: what it holds is no row.
        """
        key = self._reader.key(user_id)
        row = b"%b$%d\r\n%b\r\n%b" % (self._head, len(key), key, self._tail)
        consumed = pack_command("ZRANGE", consumed_key(self._app.name, user_id), 0, -1)
        return self._reads.ask(row + consumed, 2, self._understand)

    def _understand(self, answers: list[Any]) -> tuple[Mapping[str, Any], Set[str]]:
        values, members = answers
        return self._reader.decode(values), {member.decode() for member in members}

    def close(self) -> None:
        """Close the connection."""
        self._reads.close()
