"""Reads one user from Redis (Feast row and consumed items) within a budget, or says that the store did not answer."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import math
import time
from collections.abc import Mapping, Set
from typing import Any, Protocol

from redis.asyncio import Redis

from features.config import AppConfig, Endpoints
from features.consumed_items import consumed_key
from features.model_inputs import user_service
from features.user_state import UserState, cold_user_state, user_state_from_row
from serving.circuit_breaker import CircuitBreaker
from serving.config import ServingConfig

logger = logging.getLogger(__name__)

STORE_UNAVAILABLE = "feature_store_unavailable"
_LOOKS_AFTER_BUDGET = 8
"""Passes of the event loop from bytes in the socket to a finished read, with room to spare."""
_SOCKET_TIMEOUT_S = 1.0
"""Only a backstop: `feature_read_ms` decides, and a socket's own timer would blame the store for a busy loop."""


class UserRows(Protocol):
    """Where user rows come from."""

    @property
    def is_open(self) -> bool:
        """Whether rows can be read at all."""

    async def read_row(self, user_id: str) -> Mapping[str, Any]:
        """Return Feast field -> value or None."""

    async def read_consumed(self, user_id: str) -> Set[str]:
        """Return the items the user had an event with."""


class UserFeatures:
    """Reads users through a circuit breaker; no failure of the store reaches a request.

    Args:
        rows: the store.
        app: features of the app.
        config: budget and breaker.
    """

    def __init__(self, rows: UserRows, app: AppConfig, config: ServingConfig) -> None:
        self._rows = rows
        self._features = app.features
        self._budget_s = config.feature_read_ms / 1000.0
        self._breaker = CircuitBreaker(
            config.breaker_after_ms / 1000.0, config.breaker_pause_ms / 1000.0, time.monotonic
        )

    @property
    def is_available(self) -> bool:
        """Whether the store answered lately."""
        return self._rows.is_open and not self._breaker.is_open

    async def read(self, user_id: str, now_ms: int, budget_s: float = math.inf) -> tuple[UserState, str | None]:
        """Return the user as of `now_ms` and None, or a cold user and the reason; waits at most `budget_s`."""
        if not self._breaker.may_call():
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        was_open = self._breaker.is_open
        try:
            row, consumed = await _within(
                min(self._budget_s, budget_s),
                asyncio.gather(self._rows.read_row(user_id), self._rows.read_consumed(user_id)),
            )
        except Exception as error:  # Feast and redis raise many kinds; none may cost the caller its answer.
            self._breaker.count_failure()
            if self._breaker.is_open and not was_open:
                logger.warning("the feature store does not answer (%r); serving without user features", error)
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        self._breaker.count_success()
        if was_open:
            logger.info("the feature store answers again")
        return user_state_from_row(user_id, row, consumed, now_ms, self._features), None


async def _within(budget_s: float, reading: asyncio.Future[Any]) -> Any:
    """Wait for a read, at most `budget_s` of the store's time.

    A busy loop may be late to look at a reply that arrived long ago; only what is missing even then is late.

    Raises:
        TimeoutError: the store did not answer.
    """
    reading.add_done_callback(lambda read: read.cancelled() or read.exception())  # Looked at, whoever still waits.
    try:
        await asyncio.wait((reading,), timeout=budget_s)
        for _ in range(_LOOKS_AFTER_BUDGET):
            if reading.done():
                return reading.result()
            await asyncio.sleep(0)
    finally:
        reading.cancel()  # Also where the caller hung up; nothing where the read is done.
    raise TimeoutError(f"no answer within {budget_s * 1000:.0f} ms")


class RedisUserRows:
    """The user rows of a running stack: Feast's asynchronous read beside the consumed set, one round trip each.

    Args:
        endpoints: where Redis and the Feast registry are.
        app: the app's name.
    """

    def __init__(self, endpoints: Endpoints, app: AppConfig) -> None:
        host, _, port = endpoints.redis.rpartition(":")
        self._endpoints = endpoints
        self._app = app
        self._redis = Redis(
            host=host,
            port=int(port),
            socket_timeout=_SOCKET_TIMEOUT_S,
            socket_connect_timeout=_SOCKET_TIMEOUT_S,
            retry=None,
        )
        self._store: Any = None
        self._service: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the registry was found."""
        return self._store is not None

    async def prepare(self) -> None:
        """Import Feast; done before requests come, as it holds the interpreter for seconds."""
        await asyncio.to_thread(importlib.import_module, "features.store")

    def open(self) -> None:
        """Open the Feast store, from files only.

        Raises:
            Exception: the registry does not hold the service yet (`headrace features apply` writes it).
        """
        from features.store import open_store  # Importing Feast takes 4.6 s: only where a real store is read.

        store = open_store(self._endpoints, self._app)
        timeouts = f"socket_timeout={_SOCKET_TIMEOUT_S},socket_connect_timeout={_SOCKET_TIMEOUT_S},retry=null"
        store.config.online_store.connection_string = f"{self._endpoints.redis},{timeouts}"
        self._service = store.get_feature_service(user_service(self._app.features))
        self._store = store

    async def open_when_applied(self, retry_s: float = 1.0) -> None:
        """Open the store, trying again until the registry holds the service."""
        while self._store is None:
            try:
                await asyncio.to_thread(self.open)
            except Exception as error:  # Feast's errors share no base; until it opens, users are cold and flagged.
                logger.warning("cannot open the feature store (%s); trying again in %.0f s", error, retry_s)
                await asyncio.sleep(retry_s)
        with contextlib.suppress(Exception):  # Connects and builds what Feast makes on first use, if Redis is there.
            await asyncio.wait_for(self.read_row("warm-up"), _SOCKET_TIMEOUT_S)

    async def read_row(self, user_id: str) -> Mapping[str, Any]:
        """Return Feast field -> value or None.

        Raises:
            ConnectionError: the store is not open yet.
        """
        if self._store is None:
            raise ConnectionError("the feature store is not open yet")
        response = await self._store.get_online_features_async(
            features=self._service, entity_rows=[{"user_id": user_id}]
        )
        return {name: values[0] for name, values in response.to_dict().items()}

    async def read_consumed(self, user_id: str) -> Set[str]:
        """Return the items the user had an event with."""
        members = await self._redis.zrange(consumed_key(self._app.name, user_id), 0, -1)
        return {member.decode() for member in members}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        if self._store is not None:
            await self._store.close()
