"""Reads one user from Redis (Feast row and consumed items) within a budget, or says that the store did not answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Mapping, Set
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

    def read(self, user_id: str) -> Awaitable[tuple[Mapping[str, Any], Set[str]]]:
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
        self._left_alone: set[asyncio.Task[None]] = set()
        """Reads whose callers could not wait for them."""

    @property
    def is_available(self) -> bool:
        """Whether the store answered lately."""
        return self._rows.is_open and not self._breaker.is_open

    async def read(self, user_id: str, now_ms: int, budget_s: float = math.inf) -> tuple[UserState, str | None]:
        """Return the user as of `now_ms` and None, or a cold user and the reason.

        Args:
            user_id: whom to read.
            now_ms: as of when.
            budget_s: what the caller can wait. Where it is below `feature_read_ms`, the read goes on without the
                caller, whose hurry says nothing of the store; whether the answer comes in time does.
        """
        if not self._breaker.may_call():
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        reading = asyncio.ensure_future(self._rows.read(user_id))
        reading.add_done_callback(lambda read: read.cancelled() or read.exception())  # Looked at, whoever still waits.
        has_left = False
        try:
            row, consumed = await _within(min(self._budget_s, budget_s), reading)
        except Exception as error:  # Redis and its rows fail in many ways; none may cost the caller its answer.
            has_left = isinstance(error, TimeoutError) and budget_s < self._budget_s and not reading.done()
            if has_left:
                self._leave_alone(reading, self._budget_s - budget_s)
                return cold_user_state(user_id, self._features), NO_TIME_FOR_USER
            self._count_failure(error)
            return cold_user_state(user_id, self._features), STORE_UNAVAILABLE
        finally:
            if not has_left:
                reading.cancel()  # Also where the caller hung up; nothing where the read is done.
        self._count_success()
        return user_state_from_row(user_id, row, consumed, now_ms, self._features), None

    def _leave_alone(self, reading: asyncio.Future[Any], left_s: float) -> None:
        """Let a read go on for the rest of the store's own time, and count what becomes of it."""
        task = asyncio.get_running_loop().create_task(self._judge(reading, left_s))
        self._left_alone.add(task)
        task.add_done_callback(self._left_alone.discard)

    async def _judge(self, reading: asyncio.Future[Any], left_s: float) -> None:
        try:
            await _within(left_s, reading)
        except Exception as error:
            self._count_failure(error)
        else:
            self._count_success()
        finally:
            reading.cancel()

    def _count_success(self) -> None:
        if self._breaker.is_open:
            logger.info("the feature store answers again")
        self._breaker.count_success()

    def _count_failure(self, error: Exception) -> None:
        was_open = self._breaker.is_open
        self._breaker.count_failure()
        if self._breaker.is_open and not was_open:
            logger.warning("the feature store does not answer (%r); serving without user features", error)


async def _within(budget_s: float, reading: asyncio.Future[Any]) -> Any:
    """Wait for a read, at most `budget_s` of the store's time.

    A busy loop may be late to look at a reply that arrived long ago; only what is missing even then is late.
    `asyncio.wait` does the same for sets of tasks, at twice the cost.

    Raises:
        TimeoutError: the store did not answer.
    """
    loop = asyncio.get_running_loop()
    is_over: asyncio.Future[None] = loop.create_future()

    def end(_: object = None) -> None:
        if not is_over.done():
            is_over.set_result(None)

    reading.add_done_callback(end)
    timer = loop.call_later(budget_s, end)
    try:
        await is_over
    finally:
        timer.cancel()
        reading.remove_done_callback(end)
    for _ in range(_LOOKS_AFTER_BUDGET):
        if reading.done():
            return reading.result()
        await asyncio.sleep(0)
    raise TimeoutError(f"no answer within {budget_s * 1000:.0f} ms")
