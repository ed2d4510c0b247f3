"""The online store: whether it answers, and how full it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis import Redis, RedisError

from features.metric_families import family
from features.redis_settings import redis_settings

_TIMEOUT_S = 2.0


class RedisMetrics(Collector):
    """Asks `INFO` at every scrape.

    Args:
        address: `host:port`.
        connect: makes the client.
    """

    def __init__(self, address: str, connect: Callable[..., Any] = Redis) -> None:
        self._client = connect(**redis_settings(address), socket_timeout=_TIMEOUT_S)
        self._lock = threading.Lock()

    def describe(self) -> Iterator[Metric]:
        """Return nothing: whoever registers must not wait for Redis."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        try:
            with self._lock:
                told: Any = self._client.info()
        except (RedisError, OSError):
            told = {}
        yield family("headrace_redis_up", "1 while Redis answers.", bool(told))
        yield family("headrace_redis_memory_bytes", "Memory of the data.", told.get("used_memory", 0))
        text = "Bound of the memory, above which Redis refuses writes; 0 for none."
        yield family("headrace_redis_max_memory_bytes", text, told.get("maxmemory", 0))
        yield family("headrace_redis_keys", "Keys: users, items and consumed sets.", told.get("db0", {}).get("keys", 0))
