"""Reads one user from Redis (Feast row and consumed items) within a budget, or says that the store did not answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Set
from typing import Any, Protocol

from redis.asyncio import Redis

from features.config import AppConfig, Endpoints
from features.consumed_items import consumed_key
from features.model_inputs import RANKER_USER_SERVICE
from features.user_state import UserState, cold_user_state, user_state_from_row
from serving.circuit_breaker import CircuitBreaker
from serving.config import ServingConfig

logger = logging.getLogger(__name__)

STORE_UNAVAILABLE = "feature_store_unavailable"


class UserRows(Protocol):
    """Where user rows come from."""

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
        self._breaker = CircuitBreaker(config.breaker_failures, config.breaker_pause_ms / 1000.0, time.monotonic)

    @property
    def is_available(self) -> bool:
        """Whether the store answered lately."""
        return not self._breaker.is_open

    async def read(self, user_id: str, now_ms: int) -> tuple[UserState, str | None]:
        """Return the user as of `now_ms` and None, or a cold user and the reason."""
        if not self._breaker.may_call():
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        was_open = self._breaker.is_open
        try:
            async with asyncio.timeout(self._budget_s):
                row, consumed = await asyncio.gather(self._rows.read_row(user_id), self._rows.read_consumed(user_id))
        except Exception as error:  # Feast and redis raise many kinds; none may cost the caller its answer.
            self._breaker.count_failure()
            if self._breaker.is_open and not was_open:
                logger.warning("the feature store does not answer (%r); serving without user features", error)
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        self._breaker.count_success()
        if was_open:
            logger.info("the feature store answers again")
        return user_state_from_row(user_id, row, consumed, now_ms, self._features), None


class RedisUserRows:
    """The user rows of a running stack: Feast's asynchronous read beside the consumed set, one round trip each.

    Args:
        endpoints: where Redis and the Feast registry are.
        app: the app's name.
        timeout_s: socket budget of the consumed read; Feast's stands in its connection string.
    """

    def __init__(self, endpoints: Endpoints, app: AppConfig, timeout_s: float) -> None:
        host, _, port = endpoints.redis.rpartition(":")
        self._endpoints = endpoints
        self._app = app
        self._redis = Redis(
            host=host, port=int(port), socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None
        )
        self._store: Any = None
        self._service: Any = None

    def open(self) -> None:
        """Open the Feast store; takes seconds, so call it in a thread.

        Raises:
            Exception: the registry does not hold the service yet (`headrace features apply` writes it).
        """
        from features.store import open_store  # Importing Feast takes 4.6 s: only where a real store is read.

        store = open_store(self._endpoints, self._app)
        self._service = store.get_feature_service(RANKER_USER_SERVICE)
        self._store = store

    async def open_when_applied(self, retry_s: float = 1.0) -> None:
        """Open the store, trying again until the registry holds the service."""
        while self._store is None:
            try:
                await asyncio.to_thread(self.open)
            except Exception as error:  # Feast's errors share no base; until it opens, users are cold and flagged.
                logger.warning("cannot open the feature store (%s); trying again in %.0f s", error, retry_s)
                await asyncio.sleep(retry_s)

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
