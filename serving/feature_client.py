"""Reads one user from Redis (Feast row and consumed items) within a budget, or says that the store did not answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Set
from typing import Any, Protocol

from features.config import AppConfig
from features.user_state import UserState, cold_user_state, user_state_from_row
from serving.answers import NO_TIME_FOR_USER
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

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        """Return Feast field -> value or None, and the items the user had an event with."""


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
        """Return the user as of `now_ms` and None, or a cold user and the reason.

        Args:
            user_id: whom to read.
            now_ms: as of when.
            budget_s: what the caller can wait. One below `feature_read_ms` that is used up is no failure of the store.
        """
        if not self._breaker.may_call():
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        was_open = self._breaker.is_open
        try:
            row, consumed = await _within(
                min(self._budget_s, budget_s),
                asyncio.ensure_future(self._rows.read(user_id)),
            )
        except TimeoutError as error:
            if budget_s < self._budget_s:  # The caller's hurry says nothing of the store.
                return cold_user_state(user_id, self._features), NO_TIME_FOR_USER
            self._count_failure(error)
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        except Exception as error:  # Redis and its rows fail in many ways; none may cost the caller its answer.
            self._count_failure(error)
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        self._breaker.count_success()
        if was_open:
            logger.info("the feature store answers again")
        return user_state_from_row(user_id, row, consumed, now_ms, self._features), None

    def _count_failure(self, error: Exception) -> None:
        was_open = self._breaker.is_open
        self._breaker.count_failure()
        if self._breaker.is_open and not was_open:
            logger.warning("the feature store does not answer (%r); serving without user features", error)


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
