"""Stage 1, hydrate: what is known of the user, within the time that there is."""

from __future__ import annotations

from typing import Protocol

from features.config import FeaturesConfig
from features.user_state import UserState, cold_user_state
from serving.answers import NO_TIME_FOR_USER, RecommendQuery
from serving.budget import Budget
from serving.stage_times import StageClock
from serving.turns import Turns


class UserReader(Protocol):
    """Reads one user."""

    async def read(self, user_id: str, now_ms: int, budget_s: float) -> tuple[UserState, str | None]:
        """Return the user as of now, cold with a reason where the store did not answer in time."""


class Hydrator:
    """Reads users, so many at a time: one thread ranks, and more reads would only wait behind it.

    Args:
        users: the store.
        features: of the app.
        max_reads: reads in flight; interactive requests are let in before those made ahead of need.
    """

    def __init__(self, users: UserReader, features: FeaturesConfig, max_reads: int) -> None:
        self._users = users
        self._features = features
        self._turns = Turns(max_reads)

    async def hydrate(
        self, query: RecommendQuery, now_ms: int, budget: Budget, spare_s: float, clock: StageClock
    ) -> tuple[UserState, str | None]:
        """Return the user, and why it is a cold one where it could not be read.

        Args:
            query: whom to read.
            now_ms: as of when.
            budget: of the request.
            spare_s: what the later stages need of it.
            clock: of the request.
        """
        is_in = await self._turns.enter(query.is_prefetch, budget.left_s() - spare_s)
        clock.passed("wait")
        if not is_in:
            return cold_user_state(query.user_id, self._features), NO_TIME_FOR_USER
        try:
            left_s = budget.left_s() - spare_s
            if left_s <= 0.0:
                return cold_user_state(query.user_id, self._features), NO_TIME_FOR_USER
            return await self._users.read(query.user_id, now_ms, left_s)
        finally:
            self._turns.leave()
            clock.passed("hydrate")
